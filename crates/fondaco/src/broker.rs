//! `fondaco broker`: bring providers and buyers together.

use crate::cli::BrokerCommand;
use crate::entities::address;
use crate::failure::Failure;
use crate::home::Home;
use crate::offers::anybody;
use crate::screen::say;
use crate::services::{announce, announce_locally, listen_failure, stop_switch};
use fondaco_agent::discovery::broker_status;
use fondaco_broker::{BrokerLimits, BrokerService};
use fondaco_crypto::{Domain, SecretKey};
use fondaco_mdns::Role;
use fondaco_ports::offers::Response;
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, Protocol};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// Under which the key of an owner's broker is derived: a host of the same owner could not dial its own key.
const BROKER: Domain = Domain::new("fondaco 2026 broker key v1");

pub(crate) async fn run(home: &Home, command: BrokerCommand, json: bool) -> Result<(), Failure> {
    match command {
        BrokerCommand::Up { listen, local } => up(home, listen, local, json).await,
        BrokerCommand::Status { broker } => status(home, broker.as_deref(), json).await,
    }
}

async fn up(home: &Home, listen: SocketAddr, local: bool, json: bool) -> Result<(), Failure> {
    let key = SecretKey::from_bytes(&home.key()?.derive(BROKER));
    let stop = stop_switch()?;
    let endpoint = Endpoint::bind(&key, Some(listen), &[Protocol::Offers])
        .await
        .map_err(|error| listen_failure(error, listen))?;
    home.save_service_address("broker", &endpoint.address())?;
    announce("broker", &endpoint.address(), json);
    let _neighbours = announce_locally(local, &endpoint.address(), Role::Broker);
    let service = BrokerService::new(Arc::new(SystemClock), BrokerLimits::default());
    service.serve(endpoint, stop).await;
    Ok(())
}

async fn status(home: &Home, broker: Option<&str>, json: bool) -> Result<(), Failure> {
    let broker = match broker {
        Some(text) => address(text, "`fondaco broker up` prints the address to give here")?,
        None => home.service_address("broker")?,
    };
    let endpoint = anybody().await?;
    let answer = broker_status(&endpoint, &broker).await?;
    let Response::Status { up, asks, asks_max, currencies, posted, queries, refused } = answer
    else {
        return Err(Failure::new(format!("{} answered something else", broker.entity())));
    };
    if json {
        let line = json!({
            "event": "broker", "broker": broker.entity().to_string(),
            "up_seconds": up.milliseconds() / 1000, "offers": asks, "offers_max": asks_max,
            "currencies": currencies, "posted": posted, "queries": queries, "refused": refused,
        });
        say(&line.to_string());
    } else {
        say(&format!("{}… is up for {up}", broker.entity().short()));
        say(&format!("  offers     {asks} of at most {asks_max}, in {currencies} currencies"));
        say(&format!("  since then {posted} posted, {queries} queries, {refused} refused"));
    }
    Ok(())
}
