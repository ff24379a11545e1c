//! What the calls of a program give, and what their errors mean.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

use super::Seen;

/// All bytes, or what their absence means.
pub(super) type Looked = Result<Vec<u8>, Seen>;

/// Opens a file, which may have gone.
pub(super) fn opened(path: &Path) -> Result<File, Seen> {
    File::open(path).map_err(|error| absent_or_error("open", &error))
}

/// What a look at a name means that fails.
pub(super) fn absent_or_error(call: &str, error: &io::Error) -> Seen {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Seen::Absent,
        _ => Seen::Error(format!("{call}: {error}")),
    }
}

/// The first half, rounded up.
pub(super) fn start_of(file: &File) -> Looked {
    let length = file.metadata().map_err(|error| Seen::Error(format!("fstat: {error}")))?.len();
    let mut bytes = vec![0; usize::try_from(length.div_ceil(2)).expect("a small file")];
    let had = read_at(file, &mut bytes, 0)?;
    bytes.truncate(had);
    Ok(bytes)
}

/// All bytes from `from` on, read in pieces.
pub(super) fn rest_of(file: &File, from: usize, piece_length: usize) -> Looked {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; piece_length]);
    loop {
        let had = read_at(file, &mut piece, from + bytes.len())?;
        if had == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece[..had]);
    }
}

fn read_at(file: &File, piece: &mut [u8], from: usize) -> Result<usize, Seen> {
    file.read_at(piece, from as u64).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::STALE) => Seen::Gone,
        _ => Seen::Error(format!("read at {from}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::{Seen, opened, rest_of, start_of};
    use crate::truth::contents::numbered;

    #[test]
    fn reads_give_the_bytes_of_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        for length in [0, 33, 10_001] {
            let bytes = numbered(1, length);
            std::fs::write(&path, &bytes).expect("written");
            let file = opened(&path).expect("there");
            assert_eq!(rest_of(&file, 0, 4096), Ok(bytes.clone()));
            let start = start_of(&file).expect("read");
            assert_eq!(start.len(), length.div_ceil(2));
            assert_eq!([start.clone(), rest_of(&file, start.len(), 100).expect("read")].concat(), bytes);
        }
        assert_eq!(opened(&folder.path().join("g")).expect_err("absent"), Seen::Absent);
    }
}
