//! The one bridge between [`ErrorKind`] and the kernel's error numbers. Nowhere else is an errno built or compared.

use std::io;

use forebay_types::ErrorKind;
use fuser::Errno;
use rustix::io::Errno as KernelErrno;

/// The node is not the file's version any more: the kernel looks the path up again.
pub(crate) const STALE: Errno = Errno::ESTALE;
/// Nothing can be written here.
pub(crate) const READ_ONLY: Errno = Errno::EROFS;
/// No such extended attribute.
pub(crate) const NO_ATTRIBUTE: Errno = Errno::ENODATA;
/// The caller's buffer is too short.
pub(crate) const TOO_SHORT: Errno = Errno::ERANGE;
/// The handle is not one of ours.
pub(crate) const BAD_HANDLE: Errno = Errno::EBADF;
/// No such entry, without leave to remember it.
pub(crate) const NO_ENTRY: Errno = Errno::ENOENT;
/// The name is longer than any name.
pub(crate) const NAME_TOO_LONG: Errno = Errno::ENAMETOOLONG;
/// No device control here.
pub(crate) const NO_CONTROL: Errno = Errno::ENOTTY;

/// What the kernel is told for an error of this kind.
pub(crate) fn of(kind: ErrorKind) -> Errno {
    match kind {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::AlreadyExists => Errno::EEXIST,
        ErrorKind::InvalidArgument => Errno::EINVAL,
        ErrorKind::NotADirectory => Errno::ENOTDIR,
        ErrorKind::IsADirectory => Errno::EISDIR,
        ErrorKind::ReadOnly => Errno::EROFS,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => Errno::EACCES,
        ErrorKind::Busy => Errno::EBUSY,
        ErrorKind::NotEmpty => Errno::ENOTEMPTY,
        ErrorKind::NoSpace => Errno::ENOSPC,
        ErrorKind::LimitExceeded => Errno::EOVERFLOW,
        ErrorKind::Stale => Errno::ESTALE,
        // The client retries these until its deadline, so here they mean that nobody could be asked. Not ENOTCONN,
        // which means a dead mount point, and not EAGAIN, which programs take for a promise to be polled.
        ErrorKind::StaleEpoch | ErrorKind::NotLeader | ErrorKind::Unavailable => Errno::EHOSTDOWN,
        ErrorKind::TimedOut => Errno::ETIMEDOUT,
        ErrorKind::UnderStore | ErrorKind::Maintenance => {
            Errno::from_i32(KernelErrno::REMOTEIO.raw_os_error())
        }
        // As local file systems say of a bad checksum.
        ErrorKind::Corrupt => Errno::EBADMSG,
        ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        ErrorKind::SessionExpired | ErrorKind::Io | ErrorKind::Internal => Errno::EIO,
    }
}

/// Whether a mount point's daemon is gone.
pub(crate) fn is_dead_mount(error: &io::Error) -> bool {
    is(error, KernelErrno::NOTCONN) || is(error, KernelErrno::CONNABORTED)
}

/// Whether somebody still uses what should be unmounted.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// Whether the right to do it is missing.
pub(crate) fn is_not_permitted(error: &io::Error) -> bool {
    is(error, KernelErrno::PERM)
}

/// Whether a backing file lies on a file system that is itself stacked on another one.
pub(crate) fn is_stacked_too_deep(error: &io::Error) -> bool {
    is(error, KernelErrno::LOOP)
}

fn is(error: &io::Error, errno: KernelErrno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_errno_that_does_not_mislead_the_kernel_or_its_users() {
        for kind in ErrorKind::ALL {
            let errno = of(kind);
            // ENOSYS would switch the operation off for the life of the mount.
            assert_ne!(errno, Errno::ENOSYS, "{kind}");
            assert_ne!(errno, Errno::ENOTCONN, "{kind}");
            assert_ne!(errno, Errno::EINTR, "{kind}");
            // Only a superseded version may send the kernel back to look the path up again.
            assert_eq!(errno == STALE, kind == ErrorKind::Stale, "{kind}");
            assert_eq!(errno == NO_ENTRY, kind == ErrorKind::NotFound, "{kind}");
        }
        assert_eq!((of(ErrorKind::UnderStore).code(), of(ErrorKind::Maintenance).code()), (121, 121));
        assert_eq!(of(ErrorKind::ReadOnly), READ_ONLY);
    }

    #[test]
    fn each_kind_has_the_errno_that_the_document_says() {
        let expected = [
            (ErrorKind::NotFound, "ENOENT", KernelErrno::NOENT),
            (ErrorKind::NotADirectory, "ENOTDIR", KernelErrno::NOTDIR),
            (ErrorKind::IsADirectory, "EISDIR", KernelErrno::ISDIR),
            (ErrorKind::ReadOnly, "EROFS", KernelErrno::ROFS),
            (ErrorKind::Stale, "ESTALE", KernelErrno::STALE),
            (ErrorKind::UnderStore, "EREMOTEIO", KernelErrno::REMOTEIO),
            (ErrorKind::Maintenance, "EREMOTEIO", KernelErrno::REMOTEIO),
            (ErrorKind::PermissionDenied, "EACCES", KernelErrno::ACCESS),
            (ErrorKind::Unauthenticated, "EACCES", KernelErrno::ACCESS),
            (ErrorKind::Unavailable, "EHOSTDOWN", KernelErrno::HOSTDOWN),
            (ErrorKind::NotLeader, "EHOSTDOWN", KernelErrno::HOSTDOWN),
            (ErrorKind::StaleEpoch, "EHOSTDOWN", KernelErrno::HOSTDOWN),
            (ErrorKind::TimedOut, "ETIMEDOUT", KernelErrno::TIMEDOUT),
            (ErrorKind::Corrupt, "EBADMSG", KernelErrno::BADMSG),
            (ErrorKind::InvalidArgument, "EINVAL", KernelErrno::INVAL),
            (ErrorKind::NoSpace, "ENOSPC", KernelErrno::NOSPC),
            (ErrorKind::Busy, "EBUSY", KernelErrno::BUSY),
            (ErrorKind::LimitExceeded, "EOVERFLOW", KernelErrno::OVERFLOW),
            (ErrorKind::Unsupported, "EOPNOTSUPP", KernelErrno::OPNOTSUPP),
            (ErrorKind::SessionExpired, "EIO", KernelErrno::IO),
            (ErrorKind::Io, "EIO", KernelErrno::IO),
            (ErrorKind::Internal, "EIO", KernelErrno::IO),
        ];
        let document = include_str!("../../docs/semantics.md");
        let errors = document.split("## Errors").nth(1).and_then(|rest| rest.split("\n## ").next());
        let rows =
            errors.expect("there is such a section").lines().filter_map(|line| line.strip_prefix("| "));
        let named: Vec<_> =
            rows.filter_map(|row| Some(row.split(" |").next()?.split(", "))).flatten().collect();
        for (kind, name, errno) in expected {
            assert_eq!(of(kind).code(), errno.raw_os_error(), "{kind}");
            assert!(named.contains(&name), "{name} has no row");
        }
        // These are in the way of who makes or removes something, which nobody can through the kernel.
        let left: Vec<_> =
            ErrorKind::ALL.into_iter().filter(|kind| !expected.iter().any(|(one, ..)| one == kind)).collect();
        assert_eq!(left, [ErrorKind::AlreadyExists, ErrorKind::NotEmpty]);
    }

    #[test]
    fn errors_of_the_kernel_are_told_apart() {
        let error = |errno: KernelErrno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(is_dead_mount(&error(KernelErrno::NOTCONN)) && !is_dead_mount(&error(KernelErrno::NOENT)));
        assert!(is_busy(&error(KernelErrno::BUSY)) && !is_busy(&io::Error::other("busy")));
        assert!(is_stacked_too_deep(&error(KernelErrno::LOOP)));
        assert!(
            is_not_permitted(&error(KernelErrno::PERM)) && !is_not_permitted(&error(KernelErrno::ACCESS))
        );
    }
}
