//! P7, and the same for MongoDB and DynamoDB: what a hit on a server takes over the bare call of its driver, and what a
//! miss adds to a request beside the look-up that finds nothing.
//!
//! The servers are said where they are by the environment. Whatever is made there is removed again.

use std::sync::Arc;

use super::Bench;
use super::hits::{ENTRIES, SMALL, filled, rate, time};
use super::misses::connected;
use crate::Result;
use crate::client::Client;
use crate::floors::dynamodb::{self, DynamoDb};
use crate::floors::lookup::{LookUp, LookUpFirst};
use crate::floors::mongo::{self, Mongo};
use crate::floors::redis::Redis;
use crate::floors::uncached::Uncached;
use crate::measure::hits::Targets;
use crate::measure::misses::{AddedTime, FreshUrls};
use crate::ours::{self, Ours};
use crate::runner::{Claim, Experiment, Role, Unit};
use crate::servers::{Server, unique_name};

/// How many entries are hit in turn where each takes long to store.
const FEW_ENTRIES: u64 = 100;

/// What all experiments on a server have in common.
struct Store {
    row: &'static str,
    /// What it is called.
    name: &'static str,
    /// The bare call of the driver.
    call: &'static str,
}

/// P7: a hit in Redis, and hits from many tasks.
pub(super) async fn redis(bench: &Bench) -> Result<Vec<Experiment>> {
    let Some(address) = Server::Redis.address("P7") else { return Ok(Vec::new()) };
    let store = Store { row: "P7", name: "Redis", call: "fred, GET" };
    let targets = bench.targets(ENTRIES, SMALL);
    let ours = async || -> Result<_> { Ours::with(ours::redis(bench, &address).await?) };
    let floor = async || -> Result<_> {
        let floor = Redis::connect(&address, unique_name()).await?;
        bench.afterwards(floor.fill(&targets.urls, SMALL as usize).await?);
        Ok(floor)
    };
    let mut experiments = store.hits(&targets, ours().await?, floor().await?, ours().await?, floor().await?).await?;
    experiments.push(store.miss(bench, ours().await?, floor().await?).await?);
    Ok(experiments)
}

/// A hit in MongoDB over one `find_one`, and a miss.
pub(super) async fn mongo(bench: &Bench) -> Result<Vec<Experiment>> {
    let Some(address) = Server::Mongo.address("MongoDB") else { return Ok(Vec::new()) };
    let store = Store { row: "MongoDB", name: "MongoDB", call: "find_one" };
    let targets = bench.targets(ENTRIES, SMALL);
    let ours = async || -> Result<_> { Ours::with(ours::mongo(bench, &address).await?) };
    let floor = async || -> Result<_> {
        let name = unique_name();
        let floor = Mongo::connect(&address, &name).await?;
        bench.afterwards(mongo::removal(&address, &name));
        floor.fill(&targets.urls, SMALL as usize).await?;
        Ok(floor)
    };
    let mut experiments = store.hits(&targets, ours().await?, floor().await?, ours().await?, floor().await?).await?;
    experiments.push(store.miss(bench, ours().await?, floor().await?).await?);
    Ok(experiments)
}

/// A hit in DynamoDB over one `GetItem`, and a miss.
pub(super) async fn dynamodb(bench: &Bench) -> Result<Vec<Experiment>> {
    let Some(address) = Server::DynamoDb.address("DynamoDB") else { return Ok(Vec::new()) };
    let store = Store { row: "DynamoDB", name: "DynamoDB", call: "GetItem" };
    let targets = bench.targets(FEW_ENTRIES, SMALL);
    let ours = async || -> Result<_> { Ours::with(ours::dynamodb(bench, &address).await?) };
    let floor = async || -> Result<_> {
        let name = unique_name();
        let floor = DynamoDb::create(&address, &name).await?;
        bench.afterwards(dynamodb::removal(&address, &name));
        floor.fill(&targets.urls, SMALL as usize).await?;
        Ok(floor)
    };
    let mut experiments = store.hits(&targets, ours().await?, floor().await?, ours().await?, floor().await?).await?;
    experiments.push(store.miss(bench, ours().await?, floor().await?).await?);
    Ok(experiments)
}

impl Store {
    async fn hits<F: Client>(
        &self,
        targets: &Targets,
        ours: Ours,
        floor: F,
        ours_at_once: Ours,
        floor_at_once: F,
    ) -> Result<Vec<Experiment>> {
        Ok(vec![
            Experiment::new(self.row, format!("{} hit, p50", self.name), Unit::Time)
                .claim(Claim::TimesFloor(1.2))
                .with(Role::Ours, self.name, time(filled(ours, targets).await?, targets))
                .with(Role::Floor, self.call, time(floor, targets)),
            Experiment::new(self.row, format!("{} hits/s, 64 tasks", self.name), Unit::Rate)
                .claim(Claim::TimesFloor(1.2))
                .with(Role::Ours, self.name, rate(filled(ours_at_once, targets).await?, targets))
                .with(Role::Floor, self.call, rate(floor_at_once, targets)),
        ])
    }

    async fn miss<F: LookUp>(&self, bench: &Bench, ours: Ours, floor: F) -> Result<Experiment> {
        let pairs = if bench.quick { 50 } else { 300 };
        let urls = FreshUrls::new(bench.origin.base(), SMALL, bench.origin.counter());
        let bare = Arc::new(connected(bench, Uncached::new()).await?);
        let ours = Arc::new(connected(bench, ours).await?);
        // Its connection to the origin is opened by the round that does not count: what it looks up must not be there.
        let floor = Arc::new(LookUpFirst::new(floor));
        let what = format!("miss and store in {}, time added to a request, p50", self.name);
        Ok(Experiment::new(self.row, what, Unit::Time)
            .with(Role::Ours, self.name, AddedTime { cached: ours, bare: bare.clone(), urls: urls.clone(), pairs })
            .with(Role::Floor, self.call, AddedTime { cached: floor, bare, urls, pairs }))
    }
}
