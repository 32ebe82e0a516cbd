//! What will be: predictors, each with the uncertainty of what it says and an account of how far off it was.

mod load;
mod motion;
mod record;

pub use load::{Forecast, Load};
pub use motion::{Fix, Metres, Motion, Predicted, Speed, Unlikely};
pub use record::{Errors, Record};
