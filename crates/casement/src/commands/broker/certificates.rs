//! An authority of one's own, and the broker's certificate by it.
//!
//! The authority's certificate is made once; a signature needs its key alone, since all that is
//! in the certificate but the key is fixed here.

use anyhow::Context as _;
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// How the authority is called.
const AUTHORITY: &str = "Casement broker authority";

/// How long the authority signs.
const AUTHORITY_YEARS: i64 = 10;

/// How long a certificate is good: well above what a year of work without a look at it needs.
const CERTIFICATE_YEARS: i64 = 2;

/// Clocks of clients may be behind ours.
const BACK_DAYS: i64 = 1;

/// One that signs.
pub(super) struct Authority(Issuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes an authority: its certificate and its key, PEM.
pub(super) fn make_authority(now: Timestamp) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = authority();
    between(&mut params, now, AUTHORITY_YEARS)?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

impl Authority {
    /// Takes the key of an authority that was made here.
    pub(super) fn open(key: &str) -> anyhow::Result<Self> {
        Ok(Self(Issuer::new(authority(), KeyPair::from_pem(key)?)))
    }

    /// Signs a certificate for names and addresses; a broker among others shows it to them, too.
    pub(super) fn sign(&self, hosts: &[String], now: Timestamp) -> anyhow::Result<Signed> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts.to_vec())
            .context("a name by which the broker is reached is neither a name nor an address")?;
        params.distinguished_name = named(&hosts[0]);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        between(&mut params, now, CERTIFICATE_YEARS)?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn between(params: &mut CertificateParams, now: Timestamp, years: i64) -> anyhow::Result<()> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| -> anyhow::Result<_> {
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(rcgen::date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = day(today.checked_sub(BACK_DAYS.days())?)?;
    params.not_after = day(today.checked_add(years.years())?)?;
    Ok(())
}
