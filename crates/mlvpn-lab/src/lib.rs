//! Hosts in network namespaces joined by emulated WAN links.
#![forbid(unsafe_code)]
