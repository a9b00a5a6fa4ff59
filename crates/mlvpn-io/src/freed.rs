//! An allocator that shows what freed memory held: for tests of what must have been erased.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes of freed memory that are kept.
const ROOM: usize = 1 << 20;

thread_local! {
    /// Whether what this thread frees is kept.
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, which keeps what is freed while it is told to. Blocks begin as zeros, so that all of
/// them can be looked at.
#[derive(Debug)]
pub struct Keeping {
    freed: UnsafeCell<[u8; ROOM]>,
    len: AtomicUsize,
    is_taken: AtomicBool,
}

// SAFETY: only the one thread that has set `is_taken` and its `IS_KEPT` writes to `freed` or reads it.
unsafe impl Sync for Keeping {}

// SAFETY: blocks come from the system's allocator and go back to it, unchanged.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // A thread that ends has no such variable any more.
        if IS_KEPT.try_with(Cell::get).unwrap_or(false) {
            let at = self.len.fetch_add(layout.size(), Ordering::SeqCst);
            if at + layout.size() <= ROOM {
                // SAFETY: `block` has that many bytes until it is freed below, which were zeros when it
                // was given out, and nobody else writes to `freed`.
                unsafe {
                    let to = self.freed.get().cast::<u8>().add(at);
                    to.copy_from_nonoverlapping(block, layout.size());
                }
            }
        }
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.dealloc(block, layout) }
    }
}

impl Keeping {
    /// For a static that is the program's `#[global_allocator]`, of which there is one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is of use in a static only")]
    pub const fn new() -> Self {
        Self {
            freed: UnsafeCell::new([0; ROOM]),
            len: AtomicUsize::new(0),
            is_taken: AtomicBool::new(false),
        }
    }

    /// What this thread frees while `work` runs, as it was at that moment, block after block.
    ///
    /// # Panics
    /// When another thread is about it, or more than 1 MiB is freed.
    pub fn freed_by(&self, work: impl FnOnce()) -> Vec<u8> {
        assert!(!self.is_taken.swap(true, Ordering::SeqCst), "one thread at a time");
        self.len.store(0, Ordering::SeqCst);
        IS_KEPT.set(true);
        work();
        IS_KEPT.set(false);
        let len = self.len.load(Ordering::SeqCst);
        assert!(len <= ROOM, "{len} bytes were freed: more than there is room for");
        // SAFETY: only this thread writes to it, and does not while it is copied.
        let freed = unsafe { (&*self.freed.get())[..len].to_vec() };
        self.is_taken.store(false, Ordering::SeqCst);
        freed
    }
}
