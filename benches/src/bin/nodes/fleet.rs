//! Catch-ups of each node while one of them changes scopes: they follow the changes, not the
//! number of nodes.

use std::time::Duration;

use benches::{
    Error,
    fixture::{Client, SCOPE},
    measure::{Samples, now},
    report::{Budget, Line, Unit, progress},
};
use credential_core::secret::keyring::Keyring;
use serde_json::{Value, json};

use crate::{Node, Options, pool, propagation::set_scopes};

/// Catch-ups of the nodes of one deployment, per second.
pub struct Fleet {
    nodes: usize,
    changes_per_second: f64,
    of_the_writer: f64,
    /// The median of the others; `None`: there are none.
    of_a_reader: Option<f64>,
    of_all: f64,
}

pub async fn measure(url: &str, keyring: &Keyring, options: &Options) -> Result<Vec<Fleet>, Error> {
    let mut fleets = Vec::new();
    for &nodes in &options.nodes {
        progress(&format!(
            "{nodes} nodes, {} changes/s",
            options.changes_per_second
        ));
        fleets.push(of_size(nodes.clamp(1, 32), url, keyring, options).await?);
    }
    Ok(fleets)
}

#[expect(clippy::cast_precision_loss, reason = "counts for people")]
async fn of_size(
    size: usize,
    url: &str,
    keyring: &Keyring,
    options: &Options,
) -> Result<Fleet, Error> {
    let (mut nodes, mut running) = (Vec::new(), Vec::new());
    for _ in 0..size {
        let node = Node::new(pool(url).await?, keyring)?;
        running.push(node.credentials.start().await?);
        nodes.push(node);
    }
    let writer = nodes.first().ok_or("there is no node")?;
    let client = Client::create(&writer.credentials, format!("of {size}"), &[SCOPE]).await?;
    // Until every node listens.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let time = Duration::from_secs_f64(options.seconds.clamp(0.1, 600.0));
    let before: Vec<_> = nodes.iter().map(|node| node.store.catch_ups()).collect();
    let began = now();
    let mut beat =
        tokio::time::interval(Duration::from_secs(1) / options.changes_per_second.max(1));
    let mut changes = 0_u32;
    while began.elapsed() < time {
        beat.tick().await;
        let scopes = if changes.is_multiple_of(2) {
            &[][..]
        } else {
            &[SCOPE]
        };
        set_scopes(&writer.credentials, &client, scopes).await?;
        changes += 1;
    }
    let took = began.elapsed().as_secs_f64();
    let rates: Vec<_> = nodes
        .iter()
        .zip(before)
        .map(|(node, before)| (node.store.catch_ups() - before) as f64 / took)
        .collect();
    for running in running {
        running.shutdown().await;
    }
    let (writer, readers) = rates.split_first().ok_or("there is no node")?;
    Ok(Fleet {
        nodes: size,
        changes_per_second: f64::from(changes) / took,
        of_the_writer: *writer,
        of_a_reader: (!readers.is_empty()).then(|| Samples::new(readers.to_vec()).median()),
        of_all: rates.iter().sum(),
    })
}

impl Fleet {
    pub fn json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "changes_per_second": self.changes_per_second,
            "catch_ups_per_second_of_the_writer": self.of_the_writer,
            "catch_ups_per_second_of_a_reader": self.of_a_reader,
            "catch_ups_per_second_of_all": self.of_all,
        })
    }
}

/// A node of the largest deployment beside one of the smallest that has another node than the
/// writer.
pub fn line(fleets: &[Fleet]) -> Option<Line> {
    let readers = || fleets.iter().filter(|fleet| fleet.of_a_reader.is_some());
    let (few, many) = (
        readers().min_by_key(|fleet| fleet.nodes)?,
        readers().max_by_key(|fleet| fleet.nodes)?,
    );
    let what = format!(
        "catch-ups per change, one of {} nodes beside one of {}",
        many.nodes, few.nodes
    );
    // Per change, because a busy machine may not get all of them done in time.
    let [few, many] = [few, many].map(|fleet| Some(fleet.of_a_reader? / fleet.changes_per_second));
    let (few, many) = (few?, many?);
    Some(
        Line::new("N3", what, many, Unit::Of("catch-ups"))
            .beside(few, many / few)
            .within(Budget::at_most(1.2, Unit::Times)),
    )
}
