//! How the open handles of one node read, and the rule that all of them read alike.
//!
//! The kernel refuses an open (EIO) that reads by passthrough while another handle of the node reads through the page
//! cache, and the other way round; a mapping of a handle past the page cache it refuses beside one by passthrough. So the
//! first live handle fixes the mode, and it changes only when none is left.
//! A handle counts from before the answer to its OPEN until its RELEASE.

use std::sync::Arc;

use forebay_types::ByteCount;

use crate::limits::DIRECT_PARTS_MIN;

/// How the handles of a node read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    /// The kernel reads the cache's own file; we see nothing.
    Passthrough,
    /// The kernel asks us for each read and keeps nothing: what we answer from is in memory or on a disk of this machine
    /// already, and is about to be read by passthrough.
    Direct,
    /// The kernel asks us and keeps the pages, which it may, since a node is one immutable version.
    Buffered,
}

/// How the first handle of a node reads, of whose version so much of so much is on this machine and cannot be passed
/// through. What is here for the most part is soon here wholly, as reads fetch the rest; the page cache would only hold
/// it twice until then. What stays in part, or is here wholly and may not be passed through, is better off in the page
/// cache.
pub(crate) fn choose(here: ByteCount, length: ByteCount) -> Mode {
    let (parts, of) = DIRECT_PARTS_MIN;
    let is_most = u128::from(here.get()) * u128::from(of) >= u128::from(length.get()) * u128::from(parts);
    if is_most && here < length { Mode::Direct } else { Mode::Buffered }
}

/// The live handles of one node. `B` is what must stay alive while the kernel reads by passthrough.
#[derive(Debug)]
pub(crate) struct LiveHandles<B> {
    count: u64,
    /// Of the handles, if there are any.
    mode: Mode,
    /// Present exactly while the mode is passthrough: one for all handles, since the kernel refuses a second one.
    backing: Option<Arc<B>>,
}

/// What the handles of a node do now.
#[derive(Debug)]
pub(crate) enum Fixed<B> {
    /// There are none: the next one may choose.
    Nothing,
    /// They read by passthrough of this.
    Passthrough(Arc<B>),
    /// They read past the page cache.
    Direct,
    /// They read through the page cache.
    Buffered,
}

/// How a handle could read.
#[derive(Debug)]
pub(crate) enum Candidate<'a, B> {
    /// By passthrough of this.
    Passthrough(&'a Arc<B>),
    /// Past the page cache.
    Direct,
    /// Through it.
    Buffered,
}

/// How a handle is to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered<B> {
    /// By passthrough of this.
    Passthrough(Arc<B>),
    /// Past the page cache.
    Direct,
    /// Through it.
    Buffered,
}

impl<B> Default for LiveHandles<B> {
    fn default() -> Self {
        Self { count: 0, mode: Mode::Buffered, backing: None }
    }
}

impl<B> LiveHandles<B> {
    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// What fixes the next handle's mode now.
    pub(crate) fn fixed(&self) -> Fixed<B> {
        if self.count == 0 {
            return Fixed::Nothing;
        }
        match self.now() {
            Entered::Passthrough(backing) => Fixed::Passthrough(backing),
            Entered::Direct => Fixed::Direct,
            Entered::Buffered => Fixed::Buffered,
        }
    }

    /// Counts a handle that could read as `candidate` says, and tells how it is to read. A backing that is not taken must
    /// outlive the lock that is held around this call, so it is borrowed.
    pub(crate) fn enter(&mut self, candidate: Candidate<'_, B>) -> Entered<B> {
        if self.count == 0 {
            (self.mode, self.backing) = match candidate {
                Candidate::Passthrough(backing) => (Mode::Passthrough, Some(Arc::clone(backing))),
                Candidate::Direct => (Mode::Direct, None),
                Candidate::Buffered => (Mode::Buffered, None),
            };
        }
        self.count += 1;
        self.now()
    }

    fn now(&self) -> Entered<B> {
        match (&self.backing, self.mode) {
            (Some(backing), _) => Entered::Passthrough(Arc::clone(backing)),
            (None, Mode::Direct) => Entered::Direct,
            (None, Mode::Passthrough | Mode::Buffered) => Entered::Buffered,
        }
    }

    /// Uncounts a handle. What comes back with the last one is to be dropped outside of any lock.
    ///
    /// # Panics
    /// When no handle is counted: the next mode would be chosen while a handle lives.
    pub(crate) fn leave(&mut self) -> Option<Arc<B>> {
        assert!(self.count > 0, "a handle was released that was never counted");
        self.count -= 1;
        if self.count == 0 { self.backing.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A handle in a few words: the number of its backing, or how else it reads.
    fn named(entered: &Entered<u32>) -> Result<u32, Mode> {
        match entered {
            Entered::Passthrough(backing) => Ok(**backing),
            Entered::Direct => Err(Mode::Direct),
            Entered::Buffered => Err(Mode::Buffered),
        }
    }

    fn enter(live: &mut LiveHandles<u32>, wanted: Result<u32, Mode>) -> Result<u32, Mode> {
        let backing = wanted.ok().map(Arc::new);
        named(&live.enter(match (&backing, wanted) {
            (Some(backing), _) => Candidate::Passthrough(backing),
            (None, Err(Mode::Direct)) => Candidate::Direct,
            (None, _) => Candidate::Buffered,
        }))
    }

    #[test]
    fn what_is_here_for_the_most_part_is_read_directly() {
        let part = |here, length| choose(ByteCount::new(here), ByteCount::new(length));
        let modes = [part(0, 100), part(74, 100), part(75, 100), part(99, 100)];
        assert_eq!(modes, [Mode::Buffered, Mode::Buffered, Mode::Direct, Mode::Direct]);
        assert_eq!(
            [part(100, 100), part(0, 0)],
            [Mode::Buffered; 2],
            "it may not be held, and that may last"
        );
        assert_eq!(part(u64::MAX / 4, u64::MAX), Mode::Buffered);
    }

    #[test]
    fn the_first_handle_fixes_the_mode_until_none_is_left() {
        let mut live = LiveHandles::default();
        for first in [Err(Mode::Buffered), Err(Mode::Direct), Ok(3)] {
            for wanted in [first, Ok(4), Err(Mode::Direct), Err(Mode::Buffered)] {
                assert_eq!(enter(&mut live, wanted), first, "{wanted:?} beside it");
            }
            let mut left: Vec<_> = (0..4).map(|_| live.leave()).collect();
            assert_eq!(left.pop().expect("the last").as_deref().copied(), first.ok());
            assert!(left.iter().all(Option::is_none), "the others leave nothing to drop");
        }
    }

    #[test]
    #[should_panic(expected = "never counted")]
    fn a_release_without_an_open_is_a_defect() {
        LiveHandles::<()>::default().leave();
    }

    /// What the kernel would do: it refuses a handle of another mode, or of another backing, than the live ones.
    #[derive(Default)]
    struct Kernel {
        handles: Vec<Result<u32, Mode>>,
    }

    impl Kernel {
        fn open(&mut self, way: Result<u32, Mode>) -> Result<(), String> {
            match self.handles.first() {
                Some(live) if *live != way => Err(format!("EIO: {way:?} beside {live:?}")),
                _ => {
                    self.handles.push(way);
                    Ok(())
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_kernel_never_refuses_an_open(steps in prop::collection::vec((any::<bool>(), 0..3_u8, 0_usize..8), 0..400)) {
            let (mut live, mut kernel) = (LiveHandles::default(), Kernel::default());
            for (number, (opens, way, at)) in (0_u32..).zip(steps) {
                if opens {
                    let wanted = [Ok(number), Err(Mode::Direct), Err(Mode::Buffered)][usize::from(way)];
                    prop_assert_eq!(kernel.open(enter(&mut live, wanted)), Ok(()));
                } else if !kernel.handles.is_empty() {
                    let at = at % kernel.handles.len();
                    let _closed = kernel.handles.swap_remove(at);
                    let dropped = live.leave();
                    prop_assert!(dropped.is_none() || kernel.handles.is_empty(), "dropped under a live handle");
                }
                prop_assert_eq!(live.count(), kernel.handles.len() as u64);
                let fixed = match live.fixed() {
                    Fixed::Nothing => None,
                    Fixed::Passthrough(backing) => Some(Ok(*backing)),
                    Fixed::Direct => Some(Err(Mode::Direct)),
                    Fixed::Buffered => Some(Err(Mode::Buffered)),
                };
                prop_assert_eq!(fixed, kernel.handles.first().copied());
            }
        }
    }

    #[test]
    fn the_check_above_finds_a_mode_that_is_chosen_anew_for_each_handle() {
        let mut kernel = Kernel::default();
        assert!(kernel.open(Err(Mode::Buffered)).is_ok());
        assert!(kernel.open(Ok(1)).is_err());
        assert!(kernel.open(Err(Mode::Direct)).is_err());
        assert!(Kernel { handles: vec![Ok(1)] }.open(Ok(2)).is_err());
    }
}
