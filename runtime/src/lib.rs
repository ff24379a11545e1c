//! What each Forebay process needs to run: configuration, logging, health pages, the clock, a clean end. Tiny.
//!
//! It reads the environment only where `main` asks it to, keeps no statics, and knows nothing of masters or workers.

mod build_info;
mod clock;
mod host;
mod http;
mod observe;
mod shutdown;

pub mod config;
pub mod limits;

pub use build_info::BuildInfo;
pub use clock::{BootInstant, Clock, ManualClock, SystemClock};
pub use config::{ConfigError, resolve};
pub use host::{HostError, host_id};
pub use http::{Condition, Readiness, router, serve_http};
pub use observe::{LogError, LogFormat, init_logging};
pub use shutdown::{Shutdown, ShutdownError, Signals, Stage};
