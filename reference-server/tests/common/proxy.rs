//! Real proxies before real nodes, with a configuration of their own that is thrown away.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test set-up, of which each test binary uses its own part"
)]

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::common::{own_address, program, until};

pub struct Proxy {
    pub address: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Proxy {
    /// nginx with these lines in its `http` block and in its one server.
    pub fn nginx(http: &str, server: &str) -> Self {
        Self::start("nginx", |address, folder| {
            let folder = folder.display();
            format!(
                "user root; daemon off; worker_processes 1; pid {folder}/pid;
error_log {folder}/log error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen {address};
        {server}
    }}
}}
"
            )
        })
    }

    /// `haproxy` with these lines in its `defaults` and in its one backend.
    pub fn haproxy(defaults: &str, backend: &str) -> Self {
        Self::start("haproxy", |address, _| {
            format!(
                "defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
{defaults}
frontend clients
    bind {address}
    default_backend nodes
backend nodes
{backend}
"
            )
        })
    }

    fn start(name: &str, config: impl FnOnce(SocketAddr, &Path) -> String) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("proxy-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let address = own_address();
        let file = folder.join("config");
        std::fs::write(&file, config(address, &folder)).unwrap();
        let mut command = program(name);
        match name {
            "nginx" => command
                .arg("-e")
                .arg(folder.join("log"))
                .arg("-c")
                .arg(&file),
            _ => command.arg("-db").arg("-f").arg(&file),
        };
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self {
            address,
            process,
            folder,
        };
        until(Duration::from_secs(20), || {
            TcpStream::connect(address).is_ok()
        });
        proxy
    }

    /// What nginx complains of.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // As an operator would: nginx's worker is a process of its own.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
