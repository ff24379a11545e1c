//! Memory that reads of lent files fill, used again and again: to clear and map it anew costs as much as to read.
//!
//! Nobody sees what a buffer had before: it is given only once all that is shown of it was filled.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::limits::{INLINE_READ_MAX, LENT_BUFFER_MIN, LENT_BUFFERS_MAX};

/// The buffers that nobody uses just now.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer that is used, and goes back when it is dropped.
struct Used {
    bytes: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// What `fill` makes of `length` bytes, which it fills wholly where it succeeds.
    pub(super) fn filled<E>(
        self: &Arc<Self>,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        if !(LENT_BUFFER_MIN..=INLINE_READ_MAX).contains(&length) {
            let mut bytes = vec![0; length];
            fill(&mut bytes)?;
            return Ok(bytes.into());
        }
        let kept = self.0.lock().pop();
        let bytes = kept.unwrap_or_else(|| vec![0; INLINE_READ_MAX]);
        let mut used = Used { bytes, length, home: Arc::clone(self) };
        fill(&mut used.bytes[..length])?;
        Ok(Bytes::from_owner(used))
    }
}

impl AsRef<[u8]> for Used {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        let mut free = self.home.0.lock();
        if free.len() < LENT_BUFFERS_MAX {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(buffers: &Arc<Buffers>, length: usize, with: u8) -> Bytes {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(with);
            Ok::<(), ()>(())
        };
        buffers.filled(length, fill).expect("filled")
    }

    #[test]
    fn a_buffer_comes_back_and_shows_nothing_of_before() {
        let buffers = Arc::<Buffers>::default();
        let first = filled(&buffers, INLINE_READ_MAX, 1);
        let place = first.as_ptr();
        let clone = first.clone();
        drop(first);
        let second = filled(&buffers, INLINE_READ_MAX, 2);
        assert!(clone.iter().all(|byte| *byte == 1), "one that is still used is not filled again");
        drop(clone);
        let third = filled(&buffers, LENT_BUFFER_MIN, 3);
        assert_eq!((third.as_ptr(), third.len()), (place, LENT_BUFFER_MIN));
        assert!(third.iter().all(|byte| *byte == 3));
        assert!(second.iter().all(|byte| *byte == 2));
        assert_eq!(buffers.filled(LENT_BUFFER_MIN, |_| Err("no")), Err("no"));
        assert_eq!(buffers.0.lock().len(), 1, "that of the failed read");
    }

    #[test]
    fn only_so_many_are_kept_and_none_of_other_lengths() {
        let buffers = Arc::<Buffers>::default();
        let many: Vec<_> = (0..2 * LENT_BUFFERS_MAX).map(|_| filled(&buffers, INLINE_READ_MAX, 1)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().len(), LENT_BUFFERS_MAX);
        assert_eq!(filled(&buffers, INLINE_READ_MAX + 1, 1).len(), INLINE_READ_MAX + 1);
        assert_eq!(filled(&buffers, 10, 1).len(), 10);
        assert_eq!(buffers.0.lock().len(), LENT_BUFFERS_MAX);
    }
}
