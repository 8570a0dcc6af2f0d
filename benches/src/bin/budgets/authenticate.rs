//! P3, P4 and P5: a warm secret, a refused one, and a secret's first use.

use std::hint::black_box;

use benches::{
    Error,
    baseline::{self, Argon2id},
    fixture::{Client, Deployment, SCOPE},
    measure::{in_turn, nanos_each, now, ready},
    report::{Budget, Line, Report, Unit, progress, progress_of},
};

use crate::Options;

/// First uses of one secret at the same time.
const TOGETHER: usize = 100;

pub async fn warm_and_refused(options: &Options, report: &mut Report) -> Result<(), Error> {
    let deployment = Deployment::without_hashing()?;
    let node = &deployment.node;
    let running = node.start().await?;
    let client = Client::create(node, "key".to_owned(), &[SCOPE]).await?;
    let (id, secret) = (client.client_id.as_str(), client.secret.as_str());
    node.authenticate(id, secret).await?;
    let forged = client.forged_secret();
    let batch =
        |call: &dyn Fn() -> bool| nanos_each(20, 1_000, || assert!(call(), "another answer"));
    let refused = |wrong: &str| ready(node.authenticate(id, wrong)).is_err();

    progress("authenticate, in turn with its baseline");
    let (hashes, reads) = (node.verifier_stats().hashes, deployment.store.reads());
    let rounds = in_turn(
        options.size(100, 20),
        [
            &mut || batch(&|| ready(node.authenticate(id, black_box(secret))).is_ok()),
            &mut || batch(&|| refused(black_box(&forged))),
            &mut || batch(&|| refused(black_box("secret"))),
            &mut || {
                nanos_each(20, 1_000, || {
                    black_box(baseline::blake3(black_box(secret)));
                })
            },
        ],
    );
    let hashes = node.verifier_stats().hashes - hashes;
    let reads = deployment.store.reads() - reads;

    let hash = rounds.median::<3>();
    let most = Budget::at_most(2_000.0, Unit::Nanos);
    for (id, name, figure, ratio) in [
        ("P3", "warm", rounds.median::<0>(), rounds.ratio::<0, 3>()),
        ("P4", "forged", rounds.median::<1>(), rounds.ratio::<1, 3>()),
        (
            "P4",
            "malformed",
            rounds.median::<2>(),
            rounds.ratio::<2, 3>(),
        ),
    ] {
        let what = format!("authenticate/secret={name}, beside keyed blake3");
        let line = Line::new(id, what, figure, Unit::Nanos).beside(hash, ratio);
        report.add(line.within(most))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts for people")]
    let [hashes, reads] = [hashes as f64, reads as f64];
    report.add(Line::count(
        "P3",
        "  Argon2id, all of these rounds",
        hashes,
        "hashes",
        0.0,
    ))?;
    report.add(Line::count(
        "P4",
        "  store reads, all of these rounds",
        reads,
        "reads",
        0.0,
    ))?;
    running.shutdown().await;
    Ok(())
}

pub async fn first_use(options: &Options, report: &mut Report) -> Result<(), Error> {
    let deployment = Deployment::with_default_cost()?;
    let node = &deployment.node;
    let running = node.start().await?;
    let mut argon2id = Argon2id::new()?;
    let rounds = options.size(100, 20);
    let (mut raw, mut first) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        progress_of("first uses", n, rounds);
        let client = Client::create(node, format!("key {n}"), &[SCOPE]).await?;
        let began = now();
        black_box(argon2id.hash(&client.secret)?);
        raw.push(began.elapsed());
        let began = now();
        node.authenticate(&client.client_id, &client.secret).await?;
        first.push(began.elapsed());
    }
    let rounds = benches::measure::Rounds(
        raw.iter()
            .zip(&first)
            .map(|(raw, first)| [raw, first].map(|took| took.as_secs_f64() * 1e9))
            .collect(),
    );
    let what = format!("authenticate/secret=new,{}", Argon2id::parameters());
    report.add(
        Line::new("P5", what, rounds.median::<1>(), Unit::Nanos)
            .beside(rounds.median::<0>(), rounds.ratio::<1, 0>())
            .within(Budget::at_most(1.05, Unit::Times)),
    )?;

    let client = Client::create(node, "shared".to_owned(), &[SCOPE]).await?;
    let hashes = node.verifier_stats().hashes;
    let together: Vec<_> = (0..TOGETHER)
        .map(|_| {
            let (node, id, secret) = (
                node.clone(),
                client.client_id.clone(),
                client.secret.clone(),
            );
            tokio::spawn(async move { node.authenticate(&id, &secret).await.map(|_| ()) })
        })
        .collect();
    for one in together {
        one.await??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let hashes = (node.verifier_stats().hashes - hashes) as f64;
    let what = format!("  Argon2id for {TOGETHER} first uses at once");
    report.add(Line::count("P5", what, hashes, "hashes", 1.0))?;
    running.shutdown().await;
    Ok(())
}
