//! What recordings say, decoded, linked into a family and merged by call site.
//!
//! Holds facts only: what they mean is decided by `verdict`, how they look by `report`.

pub mod account;
pub mod family;
pub mod faults;
pub mod frame;
pub mod history;
pub mod identity;
pub mod lifetimes;
pub mod link;
pub mod places;
pub mod process;
pub mod sampling;
pub mod scans;
pub mod site;
pub mod sizes;
pub mod stacks;
pub mod window;

pub use family::{Family, LoadOptions};
pub use frame::Frame;
pub use history::{Counters, History};
pub use process::{Ended, Process};
pub use site::Site;
pub use window::Window;
