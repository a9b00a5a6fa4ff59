//! What people see of a running program: it is asked over its control socket.
//!
//! | module | purpose |
//! |---|---|
//! | `socket` | finds the socket, asks, and reads the answers |
//! | `document` | the answers, as far as they are shown |
//! | `figure` | numbers for people |
//! | `screen` | the status on one screen |
//! | `top` | the status live on a terminal, and keys that switch links |

pub mod document;
pub mod figure;
pub mod screen;
pub mod socket;
pub mod top;
