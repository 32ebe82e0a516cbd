//! The scenarios that come with the harness.

/// One of them.
#[derive(Debug)]
pub struct Shipped {
    /// What `gibbon-load run` knows it by.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),*) => {
        [$(Shipped { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

/// All of them.
pub const SHIPPED: [Shipped; 7] = shipped![
    "smoke",
    "fanout",
    "edge-delay",
    "handoff-storm",
    "rolling-restart",
    "chaos",
    "capacity"
];

impl Shipped {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Shipped> {
        SHIPPED.iter().find(|shipped| shipped.name == name)
    }
}
