//! How the open handles of one node read, and the rule that all of them read alike.
//!
//! The kernel refuses an open (EIO) that reads by passthrough while another handle of the node reads through the page
//! cache, and the other way round. So the first live handle fixes the mode, and it changes only when none is left.
//! A handle counts from before the answer to its OPEN until its RELEASE.

use std::sync::Arc;

/// How the handles of a node read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Mode {
    /// The kernel reads the cache's own file; we see nothing.
    Passthrough,
    /// The kernel asks us and keeps the pages, which it may, since a node is one immutable version.
    Buffered,
}

/// The live handles of one node. `B` is what must stay alive while the kernel reads by passthrough.
#[derive(Debug)]
pub(crate) struct LiveHandles<B> {
    count: u64,
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
    /// They read through the page cache.
    Buffered,
}

impl<B> Default for LiveHandles<B> {
    fn default() -> Self {
        Self { count: 0, backing: None }
    }
}

impl<B> LiveHandles<B> {
    /// How many there are.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// What fixes the next handle's mode now.
    pub(crate) fn fixed(&self) -> Fixed<B> {
        match (self.count, &self.backing) {
            (0, _) => Fixed::Nothing,
            (_, Some(backing)) => Fixed::Passthrough(Arc::clone(backing)),
            (_, None) => Fixed::Buffered,
        }
    }

    /// Counts a handle that could read by passthrough of `candidate`. `Some` tells it to do so, by the backing that
    /// is named; `None` to read through the page cache. A candidate that is not taken must outlive the lock that is
    /// held around this call, so it is borrowed.
    pub(crate) fn enter(&mut self, candidate: Option<&Arc<B>>) -> Option<Arc<B>> {
        if self.count == 0 {
            self.backing = candidate.cloned();
        }
        self.count += 1;
        self.backing.clone()
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

    #[test]
    fn the_first_handle_fixes_the_mode_until_none_is_left() {
        let mut live = LiveHandles::default();
        assert!(live.enter(None).is_none());
        assert!(live.enter(Some(&Arc::new(1))).is_none(), "a buffered handle lives");
        assert!(live.leave().is_none());
        assert!(live.enter(Some(&Arc::new(2))).is_none());
        live.leave();
        live.leave();
        assert_eq!(live.enter(Some(&Arc::new(3))).as_deref(), Some(&3));
        assert_eq!(live.enter(None).as_deref(), Some(&3), "a passthrough handle lives");
        assert!(live.leave().is_none());
        assert_eq!(live.leave().as_deref(), Some(&3));
    }

    #[test]
    #[should_panic(expected = "never counted")]
    fn a_release_without_an_open_is_a_defect() {
        LiveHandles::<()>::default().leave();
    }

    /// What the kernel would do: it refuses a handle of another mode, or of another backing, than the live ones.
    #[derive(Default)]
    struct Kernel {
        handles: Vec<Option<u32>>,
    }

    impl Kernel {
        fn open(&mut self, backing: Option<u32>) -> Result<(), String> {
            match self.handles.first() {
                Some(live) if *live != backing => Err(format!("EIO: {backing:?} beside {live:?}")),
                _ => {
                    self.handles.push(backing);
                    Ok(())
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_kernel_never_refuses_an_open(steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0_usize..8), 0..400)) {
            let (mut live, mut kernel) = (LiveHandles::default(), Kernel::default());
            for (number, (opens, passes, at)) in (0_u32..).zip(steps) {
                if opens {
                    let candidate = passes.then(|| Arc::new(number));
                    let entered = live.enter(candidate.as_ref());
                    prop_assert_eq!(kernel.open(entered.as_deref().copied()), Ok(()));
                } else if !kernel.handles.is_empty() {
                    let at = at % kernel.handles.len();
                    kernel.handles.swap_remove(at);
                    let dropped = live.leave();
                    prop_assert!(dropped.is_none() || kernel.handles.is_empty(), "dropped under a live handle");
                }
                prop_assert_eq!(live.count(), kernel.handles.len() as u64);
                let fixed = match live.fixed() {
                    Fixed::Nothing => None,
                    Fixed::Passthrough(backing) => Some(Some(*backing)),
                    Fixed::Buffered => Some(None),
                };
                prop_assert_eq!(fixed, kernel.handles.first().copied());
            }
        }
    }

    #[test]
    fn the_check_above_finds_a_mode_that_is_chosen_anew_for_each_handle() {
        let mut kernel = Kernel::default();
        assert!(kernel.open(None).is_ok());
        assert!(kernel.open(Some(1)).is_err());
        assert!(Kernel { handles: vec![Some(1)] }.open(Some(2)).is_err());
    }
}
