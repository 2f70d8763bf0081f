//! The fingerprint of RSA keys from Infineon's library (ROCA, CVE-2017-15361). Pure.
//!
//! Their primes are `k * M + (65537^a mod M)`, `M` a product of small primes, so the modulus is a power of 65537 modulo
//! every one of them. Nemec, Sys, Svenda, Klinec, Matyas, "The Return of Coppersmith's Attack", section 2.2; an ordinary
//! modulus has all these properties with a probability below 2^-27.

/// The odd primes whose product divides `M` for every key length.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus in big-endian bytes bears the fingerprint.
pub fn is_vulnerable(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| is_power_of_generator(remainder(modulus, *prime), *prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

/// Whether `residue` is a power of 65537 modulo the prime.
fn is_power_of_generator(residue: u32, prime: u32) -> bool {
    let generator = 65_537 % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * generator % prime;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_the_generator_bear_the_fingerprint() {
        assert!(is_vulnerable(&[1]));
        assert!(is_vulnerable(&65_537_u32.to_be_bytes()));
        assert!(is_vulnerable(&(65_537_u64 * 65_537).to_be_bytes()));
        assert!(is_vulnerable(&65_537_u128.pow(7).to_be_bytes()));
        // 65 537 to the twentieth, modulo the product of all primes.
        let large = [
            0x04, 0x62, 0xbd, 0x79, 0x03, 0x53, 0x9a, 0x53, 0xe1, 0xf2, 0x9a, 0x9d, 0xd4, 0xab, 0xfe, 0xad, 0xeb, 0xf7,
            0xda, 0x30, 0x73, 0x62, 0xc7, 0x1c, 0x80, 0x92, 0x86, 0xb1,
        ];
        assert!(is_vulnerable(&large));
    }

    #[test]
    fn ordinary_numbers_do_not() {
        assert!(!is_vulnerable(&[3]));
        assert!(!is_vulnerable(&65_539_u32.to_be_bytes()));
        assert!(!is_vulnerable(&(65_537_u128.pow(7) + 2).to_be_bytes()));
        assert!(!is_vulnerable(&[0xc5; 256]));
        assert!(!is_vulnerable(&[]));
    }
}
