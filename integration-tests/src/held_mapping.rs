//! A process that has mapped a file and looks at its end when it is told to.
//!
//! It is a process of its own since what cannot be had of a mapping is told by a signal that ends it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

/// Says the first byte at once, and the last one when a line comes.
const SCRIPT: &str = "
import mmap, sys
with open(sys.argv[1], 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
    print(mapping[0], flush=True)
    sys.stdin.readline()
    print(mapping[-1], flush=True)
";

/// Such a process. It is killed when this is dropped.
#[derive(Debug)]
pub struct HeldMapping {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl HeldMapping {
    /// Maps a file, of which its first byte is read.
    ///
    /// # Panics
    /// When there is no Python, or the file cannot be mapped.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 starts");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut mapping = Self { process, answers };
        mapping.answer().expect("the first byte can be had");
        mapping
    }

    /// Looks at the last byte: what it is, or the signal that told that it cannot be had.
    ///
    /// # Errors
    /// SIGBUS, where the file is lost.
    ///
    /// # Panics
    /// When the process ended otherwise.
    pub fn look_at_end(mut self) -> Result<u8, Signal> {
        self.process.stdin.as_mut().expect("piped").write_all(b"\n").expect("it waits");
        match self.answer() {
            Some(byte) => Ok(byte),
            None => {
                let ended = self.process.wait().expect("our own child");
                Err(ended.signal().and_then(Signal::from_named_raw).expect("only a signal ends it early"))
            }
        }
    }

    fn answer(&mut self) -> Option<u8> {
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

impl Drop for HeldMapping {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::HeldMapping;

    #[test]
    fn the_end_of_a_file_is_seen_and_one_that_is_cut_off_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, [7; 3 * 4096]).expect("written");
        assert_eq!(HeldMapping::of(&path).look_at_end(), Ok(7));
        let mapping = HeldMapping::of(&path);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(4096)).expect("cut");
        assert_eq!(mapping.look_at_end(), Err(Signal::BUS));
    }
}
