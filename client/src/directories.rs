//! Directories outside of mounts, which the namespace itself has: made, removed, moved and given away.

use forebay_proto::v1;
use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_types::{InodeId, NamespacePath};

use crate::client::Client;
use crate::error::ClientError;

/// Who may do what with a directory; what is absent is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// All of them: a call that was dropped may still be carried out, and where nobody can tell whether it was,
/// [`ClientError::OutcomeUnknown`] says so.
impl Client {
    /// Makes a directory; with `parents` also what is missing above it, and then that it is there already is no error. Gives
    /// its inode, and whether it was there before.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::NotFound`], [`ErrorKind::ReadOnly`] within a mount.
    ///
    /// [`ErrorKind::AlreadyExists`]: forebay_types::ErrorKind::AlreadyExists
    /// [`ErrorKind::NotFound`]: forebay_types::ErrorKind::NotFound
    /// [`ErrorKind::ReadOnly`]: forebay_types::ErrorKind::ReadOnly
    pub async fn make_directory(
        &self,
        path: &NamespacePath,
        parents: bool,
        access: Access,
    ) -> Result<(InodeId, bool), ClientError> {
        let Access { mode, uid, gid } = access;
        let stamped = |stamp| v1::MakeDirectoryRequest {
            header: Some(self.header(Some(stamp))),
            path: path.to_bytes().into(),
            parents,
            mode,
            uid,
            gid,
        };
        let made = self.mutate("MakeDirectory", stamped, |channel, request| async move {
            NamespaceClient::new(channel).make_directory(request).await
        });
        let made = made.await;
        self.forget_names();
        made.map(|answer| (InodeId::new(answer.inode), answer.already))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotEmpty`], [`ErrorKind::NotFound`], [`ErrorKind::Busy`] for a mount point, [`ErrorKind::ReadOnly`]
    /// within a mount.
    ///
    /// [`ErrorKind::NotEmpty`]: forebay_types::ErrorKind::NotEmpty
    /// [`ErrorKind::NotFound`]: forebay_types::ErrorKind::NotFound
    /// [`ErrorKind::Busy`]: forebay_types::ErrorKind::Busy
    /// [`ErrorKind::ReadOnly`]: forebay_types::ErrorKind::ReadOnly
    pub async fn remove_directory(&self, path: &NamespacePath) -> Result<(), ClientError> {
        let stamped = |stamp| v1::RemoveDirectoryRequest {
            header: Some(self.header(Some(stamp))),
            path: path.to_bytes().into(),
        };
        let removed = self.mutate("RemoveDirectory", stamped, |channel, request| async move {
            NamespaceClient::new(channel).remove_directory(request).await
        });
        let removed = removed.await;
        self.forget_names();
        removed.map(drop)
    }

    /// Moves a directory with all below it, as `rename(2)` does; gives how many mounts went with it.
    ///
    /// # Errors
    /// As [`remove_directory`](Self::remove_directory), of what moves or of what is at the new place.
    pub async fn rename(&self, from: &NamespacePath, to: &NamespacePath) -> Result<u32, ClientError> {
        let stamped = |stamp| v1::RenameRequest {
            header: Some(self.header(Some(stamp))),
            from: from.to_bytes().into(),
            to: to.to_bytes().into(),
        };
        let renamed = self.mutate("Rename", stamped, |channel, request| async move {
            NamespaceClient::new(channel).rename(request).await
        });
        let renamed = renamed.await;
        self.forget_names();
        renamed.map(|answer| answer.mounts)
    }

    /// Sets attributes of a directory; gives whether it had others before.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::ReadOnly`] within a mount.
    ///
    /// [`ErrorKind::NotFound`]: forebay_types::ErrorKind::NotFound
    /// [`ErrorKind::ReadOnly`]: forebay_types::ErrorKind::ReadOnly
    pub async fn set_attributes(&self, path: &NamespacePath, access: Access) -> Result<bool, ClientError> {
        let Access { mode, uid, gid } = access;
        let stamped = |stamp| v1::SetAttributesRequest {
            header: Some(self.header(Some(stamp))),
            path: path.to_bytes().into(),
            mode,
            uid,
            gid,
        };
        let set = self.mutate("SetAttributes", stamped, |channel, request| async move {
            NamespaceClient::new(channel).set_attributes(request).await
        });
        let set = set.await;
        self.forget_names();
        set.map(|answer| answer.changed)
    }
}
