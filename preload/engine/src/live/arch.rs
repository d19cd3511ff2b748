//! Owns the choice of the instructions of the processor at hand.
//! Starting to fetch must never read the memory: the address may be unmapped.

#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod here;

pub(super) use here::Lanes;
pub(crate) use here::line;
