//! `maintain`: planned work is announced, or called off.

use std::{process::ExitCode, time::Duration};

use gibbon_control::{
    client::Portal,
    portal::{MaintenanceRequest, NodeInfo},
};
use gibbon_media::NodeId;

use crate::{
    command::{print, show},
    duration,
};

/// `gibbonctl maintain`.
#[derive(clap::Args)]
pub struct Maintain {
    /// The edge or worker; `gibbonctl nodes` lists them
    node: NodeId,
    /// It goes away in so long, as 10m: by then nothing is there any more
    #[arg(
        long = "in",
        value_name = "DURATION",
        value_parser = duration::parse,
        required_unless_present = "cancel"
    )]
    ahead: Option<Duration>,
    /// Call it off
    #[arg(long, conflicts_with = "ahead")]
    cancel: bool,
}

/// Announces planned work, or calls it off.
pub fn maintain(json: bool, portal: &Portal, maintain: &Maintain) -> anyhow::Result<ExitCode> {
    let node = &maintain.node;
    let Some(ahead) = maintain.ahead else {
        portal.cancel_maintenance(node)?;
        if !json {
            print(&format!("{node} stays"))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let in_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
    let info = portal.maintain(node, &MaintenanceRequest { in_ms })?;
    show(json, &info, |info: &NodeInfo| {
        format!(
            "{} goes away in {} s: it carries {} legs, which leave before that; \
             `gibbonctl maintain {} --cancel` calls it off",
            info.id,
            in_ms / 1000,
            info.legs,
            info.id
        )
    })
}
