//! The small formats that many keys share: sizes, durations, networks.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

/// Bytes from `32KiB` or `32Ki` (also `Mi`, `Gi`, `B`).
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let shift = match unit {
        "B" => 0,
        "KiB" | "Ki" => 10,
        "MiB" | "Mi" => 20,
        "GiB" | "Gi" => 30,
        "" if !number.is_empty() => return Err(format!("say the unit: `{number}B`, `{number}KiB`, `{number}MiB`")),
        "KB" | "kB" | "K" | "k" => return Err(format!("units are powers of two: `{number}KiB`")),
        "MB" | "M" | "m" => return Err(format!("units are powers of two: `{number}MiB`")),
        "GB" | "G" | "g" => return Err(format!("units are powers of two: `{number}GiB`")),
        _ => return Err("write a whole number and a unit, such as `32KiB` or `100MiB`".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number and a unit, such as `32KiB`".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is larger than any number of bytes".to_owned())
}

/// A duration from `500ms`, `10s`, `15m` or `24h`.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let example = "write a whole number and a unit, such as `500ms`, `10s`, `15m` or `24h`";
    let (number, unit) = split(text);
    let value: u64 = number.parse().map_err(|_| example.to_owned())?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(value)),
        "s" => Some(value),
        "m" => value.checked_mul(60),
        "h" => value.checked_mul(3600),
        "" => return Err(format!("say the unit: `{number}s`, `{number}m`, `{number}ms`")),
        _ => return Err(example.to_owned()),
    };
    seconds
        .filter(|seconds| *seconds < 1 << 40)
        .map(Duration::from_secs)
        .ok_or_else(|| "it is longer than any clock runs".to_owned())
}

/// A network from `10.0.0.0/8` or `2001:db8::/32`; a bare address is the network of itself.
///
/// # Errors
/// What to write instead.
pub fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let net: IpNet = text.parse().map_err(|_| "write a network such as `10.0.0.0/8` or `2001:db8::/32`".to_owned())?;
    if net.trunc() != net {
        return Err(format!("it has bits beyond its prefix: write `{}`", net.trunc()));
    }
    if let (IpAddr::V4(mapped), Some(prefix)) = (net.addr().to_canonical(), net.prefix_len().checked_sub(96))
        && matches!(net, IpNet::V6(_))
    {
        return Ipv4Net::new(mapped, prefix).map(IpNet::V4).map_err(|_| "its prefix is too long".to_owned());
    }
    Ok(net)
}

/// Leading digits and what follows.
fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(size("32KiB"), Ok(32 * 1024));
        assert_eq!(size("32Ki"), Ok(32 * 1024));
        assert_eq!(size("150MiB"), Ok(150 * 1024 * 1024));
        assert_eq!(size("1Gi"), Ok(1 << 30));
        assert_eq!(size("0B"), Ok(0));
        for wrong in
            ["", "KiB", "32", "32KB", "-1KiB", "1.5MiB", "32 KiB", "32kib", "99999999999999999999B", "17179869184GiB"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("24h"), Ok(Duration::from_hours(24)));
        for wrong in
            ["", "s", "10", "10 s", "1.5s", "-1s", "10S", "1h30m", "99999999999999999999s", "9999999999999999h"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_are_exact_and_mapped_ones_are_ipv4() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("::1").unwrap().to_string(), "::1/128");
        assert_eq!(network("::ffff:10.0.0.0/104").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("::/0").unwrap().to_string(), "::/0");
        for wrong in ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0.0/08x", "10.0.0/8"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
