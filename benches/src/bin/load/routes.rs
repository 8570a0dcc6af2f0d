//! H1 to H4: each route between two slices of the floor.
//!
//! The report also has the ratio of processor time, of server and generator together. That is the ratio of
//! throughputs on a saturated machine without other work, and other programs affect it less.

use std::time::Duration;

use benches::{
    Error,
    measure::{Process, Samples},
    report::{Budget, Cell, Report, Unit, column, progress},
};

use crate::{
    Options,
    client::{Exchange, Group, drive, p50_and_p99},
    server::Server,
    setup::{livez, routes},
};

/// Budgets hold from this number of connections on: fewer measure how soon threads wake up.
const BUDGET_FROM: usize = 16;

/// Number and least ratio of a route's budget.
fn budget(route: &str) -> (&'static str, f64) {
    match route {
        "guard" | "forward-auth" => ("H1", 0.80),
        "introspect, bearer" | "introspect, client" => ("H2", 0.65),
        "token, forged" => ("H4", 0.65),
        _ => ("H3", 0.55),
    }
}

pub async fn run(options: &Options) -> Result<bool, Error> {
    let mut server = Server::start()?;
    let result = all(options, &server).await;
    server.explain(result)
}

async fn all(options: &Options, server: &Server) -> Result<bool, Error> {
    let routes = routes(&server.address).await?;
    let mut report = Report::new(
        options.json,
        [
            column("id", "id", -3),
            column("route", "route", -19),
            column("connections", "conns", 5),
            column("floor_per_second", "floor/s", 8),
            column("per_second", "route/s", 8),
            column("ratio", "ratio", 6),
            column("floor_p50_us", "floor p50 µs", 12),
            column("floor_p99_us", "p99", 7),
            column("p50_us", "p50 µs", 8),
            column("p99_us", "p99", 7),
            column("floor_server_us", "floor cpu µs", 12),
            column("server_us", "cpu µs", 7),
            column("cpu_ratio", "cpu ratio", 9),
            column("generator_busy", "", 0),
            column("budget", "budget", 8),
            column("met", "", -6),
        ],
    );
    for &connections in &options.connections {
        let connections = connections.clamp(1, 1024);
        let mut floor = Group::open(&server.address, connections, vec![livez()]).await?;
        drive([&mut floor], options.slice()).await?; // warms the server and the processor up
        for route in &routes {
            if !route.name.contains(&options.only) {
                continue;
            }
            progress(&format!("{} on {connections} connections …", route.name));
            let figures = measure(options, server, &mut floor, route).await?;
            report.row(&row(route.name, connections, figures))?;
        }
    }
    Ok(report.all_met())
}

#[derive(Default)]
struct Figures {
    floor: Side,
    route: Side,
    ratios: Vec<f64>,
}

#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    latencies: Vec<f64>,
    server: Duration,
    generator: Duration,
}

impl Side {
    /// Microseconds of a time for each request.
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    fn each_us(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.latencies.len() as f64
    }

    /// Requests per second.
    fn rate(&self) -> f64 {
        Samples::new(self.per_second.clone()).median()
    }
}

async fn measure(
    options: &Options,
    server: &Server,
    floor: &mut Group,
    route: &Exchange,
) -> Result<Figures, Error> {
    let time = options.slice();
    let mut group = Group::open(
        &server.address,
        floor.connections.len(),
        vec![route.clone()],
    )
    .await?;
    drive([&mut group], time / 5).await?;
    let mut figures = Figures::default();
    let mut before = slice(&mut figures.floor, server, floor, time).await?;
    for _ in 0..options.slices() {
        let of_route = slice(&mut figures.route, server, &mut group, time).await?;
        let after = slice(&mut figures.floor, server, floor, time).await?;
        figures.ratios.push(of_route / f64::midpoint(before, after));
        before = after;
    }
    Ok(figures)
}

async fn slice(
    side: &mut Side,
    server: &Server,
    group: &mut Group,
    time: Duration,
) -> Result<f64, Error> {
    let used = || Ok::<_, Error>([server.process().used()?, Process { id: None }.used()?]);
    let before = used()?;
    let [slice] = drive([group], time).await?;
    let after = used()?;
    side.server += after[0].saturating_sub(before[0]);
    side.generator += after[1].saturating_sub(before[1]);
    side.per_second.push(slice.per_second);
    side.latencies.extend(slice.latencies);
    Ok(slice.per_second)
}

fn row(name: &'static str, connections: usize, figures: Figures) -> Vec<Cell> {
    let Figures {
        floor,
        route,
        ratios,
    } = figures;
    let [floor_us, route_us] = [&floor, &route].map(|side| side.each_us(side.server));
    let [floor_all, route_all] =
        [&floor, &route].map(|side| side.each_us(side.server + side.generator));
    let [floor_rate, route_rate] = [&floor, &route].map(Side::rate);
    let busy = route.each_us(route.generator) * route_rate / 1e6;
    let ratio = Samples::new(ratios).median();
    let [floor_p50, floor_p99] = p50_and_p99(floor.latencies);
    let [p50, p99] = p50_and_p99(route.latencies);
    let (id, least) = budget(name);
    let budget = Budget::at_least(least, Unit::Times);
    let mut row = vec![
        id.into(),
        name.into(),
        Cell::count(connections),
        Cell::Number(floor_rate, 0),
        Cell::Number(route_rate, 0),
        Cell::Number(ratio, 2),
        Cell::Number(floor_p50, 0),
        Cell::Number(floor_p99, 0),
        Cell::Number(p50, 0),
        Cell::Number(p99, 0),
        Cell::Number(floor_us, 1),
        Cell::Number(route_us, 1),
        Cell::Number(floor_all / route_all, 2),
        Cell::Number(busy, 2),
    ];
    if connections >= BUDGET_FROM {
        row.extend([Cell::Budget(budget), Cell::Met(budget.is_met_by(ratio))]);
    } else {
        row.extend([Cell::Empty, Cell::Empty]);
    }
    row
}
