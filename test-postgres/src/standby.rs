//! Streaming standbys that can be cut off and promoted.

use std::{fs, ops::Deref, path::Path, thread, time::Duration};

use crate::{Kind, Own, Server};

/// A streaming standby of a throwaway server. It answers reads. It dereferences to its own [`Server`], so
/// that it can be paused or stopped like any other.
#[derive(Debug)]
pub struct Standby<'a> {
    server: Server,
    primary: &'a Server,
    follow: String,
}

impl Server {
    /// A streaming standby of this server under that name, up to date with it. Stopped when dropped.
    ///
    /// For synchronous replication, name it in `synchronous_standby_names` with
    /// [`set`](Self::set).
    #[must_use]
    pub fn standby(&self, name: &str) -> Standby<'_> {
        let primary = self.own();
        let own = Own::prepare();
        let follow = format!(
            "host={} user=postgres application_name={name}",
            primary.folder.display()
        );
        own.run(
            "pg_basebackup",
            [
                "--pgdata=data",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "--dbname",
                &*follow,
            ],
        );
        // The later of two settings of one name counts.
        let file = own.folder.join("data/postgresql.auto.conf");
        let copied = fs::read_to_string(&file).expect("the backup holds the configuration");
        let config = format!(
            "{copied}\nunix_socket_directories = '{}'\nprimary_conninfo = '{follow}'\n",
            own.folder.display()
        );
        fs::write(&file, config).expect("the configuration can be written");
        own.pg_ctl(&["-w", "start"]);
        let standby = Standby {
            server: Self {
                kind: Kind::Own(own),
            },
            primary: self,
            follow,
        };
        standby.catch_up();
        standby
    }

    /// Changes a setting of a running server, such as `synchronous_standby_names`. Returns once it
    /// counts for every new session and for the server's own processes.
    pub fn set(&self, setting: &str, value: &str) {
        self.sql(&format!("alter system set {setting} = '{value}'"));
        self.sql("select pg_reload_conf()");
        wait_until(&format!("{setting} is '{value}'"), || {
            self.query(&format!("select current_setting('{setting}')")) == value
        });
        // The checkpointer makes commits wait for standbys. It has been signalled by now, and handles
        // signals between two checkpoints.
        for _ in 0..2 {
            self.sql("checkpoint");
        }
    }
}

impl Standby<'_> {
    /// Waits until everything that the primary has written so far can be read here.
    pub fn catch_up(&self) {
        let written = self.primary.query("select pg_current_wal_lsn()");
        wait_until("the standby has caught up", || {
            let replayed = format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn");
            self.server.query(&replayed) == "t"
        });
    }

    /// Catches up, then receives nothing more: later commits of the primary are lost when this standby is
    /// promoted.
    pub fn cut_off(&self) {
        self.catch_up();
        self.server.set("primary_conninfo", "");
        wait_until("the standby has let its primary go", || {
            let name = self
                .server
                .query("select count(*) from pg_stat_wal_receiver");
            name == "0"
        });
    }

    /// Ends [`cut_off`](Self::cut_off).
    pub fn follow_again(&self) {
        self.server.set("primary_conninfo", &self.follow);
        self.catch_up();
    }

    /// Makes it a primary. The old one is left as it is.
    #[must_use]
    pub fn promote(self) -> Server {
        self.server.own().pg_ctl(&["-w", "promote"]);
        self.server
    }

    /// Its folder, where its log is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.server.own().folder
    }
}

impl Deref for Standby<'_> {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// Repeats a question until the answer is yes. Panics after a time that no working server needs.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("30 s later it is still not so that {what}");
}
