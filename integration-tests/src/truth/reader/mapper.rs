//! A process that maps files which it is given open, and copies what it sees.
//!
//! It is a process of its own since a fault of a page keeps whoever changes the memory of the same process waiting, and
//! the proxy that the page comes through may live in this one. It has the kernel copy the mapping, so a page that cannot
//! be had is an error and no signal.

use std::fs::File;
use std::io::{IoSlice, Read, Seek};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::Seen;
use super::looks::Looked;

/// Takes a file and a place for the copy, and answers with the number of an error or 0, without end.
const SCRIPT: &str = "
import mmap, os, socket
channel = socket.socket(fileno=0)
while True:
    message, files, _, _ = socket.recv_fds(channel, 1, 2)
    if not message:
        break
    answer = 0
    try:
        with mmap.mmap(files[0], 0, prot=mmap.PROT_READ) as mapping, memoryview(mapping) as view:
            at = 0
            while at < len(view):
                at += os.write(files[1], view[at:])
    except OSError as error:
        answer = error.errno
    for file in files:
        os.close(file)
    channel.send(bytes([answer]))
";

/// Such a process. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Mapper {
    child: Child,
    channel: UnixStream,
}

impl Mapper {
    pub(super) fn start() -> Self {
        let (channel, theirs) = UnixStream::pair().expect("a pair of sockets");
        let child = Command::new("python3")
            .args(["-c", SCRIPT])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("python3 starts");
        Self { child, channel }
    }

    /// All bytes of a mapping of the file.
    pub(super) fn copy_of(&mut self, file: &File) -> Looked {
        let failed = |call: &str, error: &dyn std::fmt::Display| Seen::Error(format!("{call}: {error}"));
        let status = file.metadata().map_err(|error| failed("fstat", &error))?;
        if status.len() == 0 {
            // There is no mapping of nothing.
            return Ok(Vec::new());
        }
        let memory = memfd_create("copy", MemfdFlags::CLOEXEC).map_err(|error| failed("memfd", &error))?;
        let mut copy = File::from(memory);
        match self.ask(file, &copy).map_err(|error| failed("the process that maps", &error))? {
            0 => {}
            errno if i32::from(errno) == Errno::FAULT.raw_os_error() => return Err(Seen::Gone),
            errno => return Err(failed("mmap", &std::io::Error::from_raw_os_error(i32::from(errno)))),
        }
        let mut bytes = Vec::new();
        let read = copy.rewind().and_then(|()| copy.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|error| failed("the copy", &error))
    }

    fn ask(&mut self, file: &File, copy: &File) -> std::io::Result<u8> {
        let files = [file.as_fd(), copy.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)), "there is space for two");
        sendmsg(&self.channel, &[IoSlice::new(b"m")], &mut control, SendFlags::NOSIGNAL)?;
        let mut answer = [0];
        self.channel.read_exact(&mut answer)?;
        Ok(answer[0])
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{Mapper, OwnedFd};
    use crate::truth::contents::numbered;

    #[test]
    fn a_mapping_is_copied_and_a_page_that_cannot_be_had_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let mut mapper = Mapper::start();
        for length in [0, 33, 10_001, 3 << 20] {
            std::fs::write(&path, numbered(1, length)).expect("written");
            let file = File::open(&path).expect("there");
            assert_eq!(mapper.copy_of(&file), Ok(numbered(1, length)));
        }
        // What cannot be mapped is an error and not the end of the process.
        let (pipe, _other) = std::io::pipe().expect("a pipe");
        let answer = mapper.ask(&File::from(OwnedFd::from(pipe)), &File::open(&path).expect("there"));
        assert!(answer.expect("an answer") > 0);
        assert!(mapper.copy_of(&File::open(&path).expect("there")).is_ok());
    }
}
