//! Packet buffers that are used again instead of being freed.

/// How many spare buffers are kept: as many as the resequencer may hold at once.
const MAX_SPARE: usize = 4096;
/// Room for a packet at the usual MTU without growing.
const INITIAL_CAPACITY: usize = 1536;

/// A stock of empty buffers.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(INITIAL_CAPACITY))
    }

    /// How many buffers are kept.
    #[cfg(test)]
    pub(crate) fn spare(&self) -> usize {
        self.spare.len()
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() <= 4 * INITIAL_CAPACITY {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
