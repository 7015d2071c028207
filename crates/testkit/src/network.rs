//! A network that loses, doubles, delays and reorders messages.

use std::collections::BTreeMap;

use fondaco_units::{Duration, Timestamp};

use crate::Rng;

/// What the network does to messages, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// How many are lost.
    pub lost: u64,
    /// How many come twice.
    pub doubled: u64,
    /// How many take up to a hundred times as long as the others.
    pub late: u64,
    /// How long the others take at most; messages overtake each other within it.
    pub delay_max: Duration,
}

impl Weather {
    /// Nothing is lost, doubled or late.
    pub const FAIR: Self =
        Self { lost: 0, doubled: 0, late: 0, delay_max: Duration::from_milliseconds(50) };

    /// Returns any weather, fair to foul.
    pub fn any(rng: &mut Rng) -> Self {
        let mut percent = |most| if rng.chance(30) { 0 } else { rng.below(most) };
        Self { lost: percent(50), doubled: percent(50), late: percent(30), ..Self::FAIR }
    }
}

/// A message that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<A, M> {
    /// Who sent it.
    pub from: A,
    /// Who gets it.
    pub to: A,
    /// What was sent.
    pub message: M,
}

/// Messages under way between addresses `A`.
#[derive(Clone, Debug)]
pub struct SimNetwork<A, M> {
    weather: Weather,
    rng: Rng,
    sent: u64,
    under_way: BTreeMap<(Timestamp, u64), Delivery<A, M>>,
}

impl<A: Clone, M: Clone> SimNetwork<A, M> {
    /// Creates a network without messages.
    pub fn new(weather: Weather, rng: Rng) -> Self {
        Self { weather, rng, sent: 0, under_way: BTreeMap::new() }
    }

    /// Changes what happens to messages that are sent from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Sends a message.
    pub fn send(&mut self, now: Timestamp, from: A, to: A, message: M) {
        if self.rng.chance(self.weather.lost) {
            return;
        }
        let copies = if self.rng.chance(self.weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.weather.delay_max.milliseconds();
            let most = if self.rng.chance(self.weather.late) { delay * 100 } else { delay };
            let arrives = now.after(Duration::from_milliseconds(1 + self.rng.below(most)));
            self.sent += 1;
            let delivery =
                Delivery { from: from.clone(), to: to.clone(), message: message.clone() };
            self.under_way.insert((arrives, self.sent), delivery);
        }
    }

    /// Returns when the next message comes.
    pub fn next_arrival(&self) -> Option<Timestamp> {
        self.under_way.first_key_value().map(|((arrives, _), _)| *arrives)
    }

    /// Takes a message that has come by `now`.
    pub fn receive(&mut self, now: Timestamp) -> Option<Delivery<A, M>> {
        let (_, first) = self
            .next_arrival()
            .filter(|arrives| *arrives <= now)
            .and_then(|_| self.under_way.pop_first())?;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(weather: Weather) -> Vec<u32> {
        let mut network = SimNetwork::new(weather, Rng::new(1));
        for number in 0..1000 {
            network.send(Timestamp::from_milliseconds(u64::from(number)), 'a', 'b', number);
        }
        let end = Timestamp::from_milliseconds(100_000);
        std::iter::from_fn(|| network.receive(end)).map(|delivery| delivery.message).collect()
    }

    #[test]
    fn weather_is_as_told() {
        let sent: Vec<u32> = (0..1000).collect();
        let mut fair = received(Weather::FAIR);
        assert_ne!(fair, sent, "overtaken");
        fair.sort_unstable();
        assert_eq!(fair, sent);
        assert!((400..600).contains(&received(Weather { lost: 50, ..Weather::FAIR }).len()));
        assert!((1400..1600).contains(&received(Weather { doubled: 50, ..Weather::FAIR }).len()));
        assert_eq!(
            received(Weather::any(&mut Rng::new(3))),
            received(Weather::any(&mut Rng::new(3)))
        );
    }

    #[test]
    fn nothing_comes_before_its_time() {
        let mut network = SimNetwork::new(Weather::FAIR, Rng::new(1));
        network.send(Timestamp::EPOCH, 'a', 'b', ());
        let arrives = network.next_arrival().unwrap();
        assert!(arrives > Timestamp::EPOCH);
        assert_eq!(network.receive(Timestamp::EPOCH), None);
        assert!(network.receive(arrives).is_some());
    }
}
