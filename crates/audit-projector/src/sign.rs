//! Signing the heads of the chains, time and again, and once more at the end.
//!
//! A head that did not move is not signed again. One that does not go on from what was signed
//! before is not signed at all: a signature under a past that was written anew would be worse than
//! none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use casement_secrets::keys::{MasterKey, MasterKeys};
use casement_shell::SharedClock;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::chain::Head;
use crate::config::Config;
use crate::heads::{Previous, Statement};
use crate::metrics;
use crate::note::{self, Signer, VerifierKey};
use crate::store::{Error, KeptHead, SharedStore};
use crate::verify::anchors::SignedHead;

/// How long the last signing may take when the process ends.
const LAST_SIGNING_MAX: Duration = Duration::from_secs(5);

/// The keys of a configuration.
#[derive(Debug, Default)]
pub(crate) struct SigningKeys {
    /// `None` if nothing is signed.
    pub(crate) signer: Option<Signer>,
    /// The one that signs, then those that did before.
    pub(crate) verifiers: Arc<[VerifierKey]>,
}

impl SigningKeys {
    /// Makes the keys of a configuration that fits together: one for each line, the first one
    /// signs.
    pub(crate) fn of(config: &Config) -> anyhow::Result<Self> {
        let setting = config.signing_key.as_ref().map(|key| &key.0);
        let keys = MasterKeys::read("archive.signing_key", setting, "archive heads")?;
        let signer = |key: &MasterKey| Signer::new(&config.signing_name, &seed_of(key));
        let signers: Vec<Signer> = keys.iter().map(signer).collect();
        let verifiers = signers.iter().map(|signer| signer.verifier().clone());
        Ok(Self {
            verifiers: verifiers.collect(),
            signer: signers.into_iter().next(),
        })
    }
}

fn seed_of(key: &MasterKey) -> Zeroizing<[u8; 32]> {
    let digest = Zeroizing::new(key.digest(&[b"ed25519"]));
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&digest);
    seed
}

/// Signs heads.
#[derive(Debug)]
pub(crate) struct HeadSigner {
    pub(crate) store: SharedStore,
    pub(crate) clock: SharedClock,
    pub(crate) keys: SigningKeys,
    pub(crate) interval: Duration,
}

impl HeadSigner {
    /// Signs until the stop.
    pub(crate) async fn run(&self, stopping: CancellationToken) {
        if self.keys.signer.is_none() {
            return;
        }
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                signed = self.sign() => tell(signed),
            }
        }
    }

    /// Signs what was archived last, once nothing is archived any more.
    pub(crate) async fn finish(&self) {
        match tokio::time::timeout(LAST_SIGNING_MAX, self.sign()).await {
            Ok(signed) => tell(signed),
            Err(elapsed) => tell(Err(elapsed.into())),
        }
    }

    /// Signs every head that has moved, and returns how many.
    pub(crate) async fn sign(&self) -> anyhow::Result<usize> {
        let Some(signer) = &self.keys.signer else {
            return Ok(0);
        };
        let chains = self.store.chains(None).await.context("read the heads")?;
        let mut signed_count = 0;
        for known in chains.into_iter().filter_map(|chain| chain.head) {
            let is_signed = self.sign_head(signer, &known).await;
            if is_signed.with_context(|| format!("sign the head of {}", known.stream))? {
                signed_count += 1;
            }
        }
        Ok(signed_count)
    }

    async fn sign_head(&self, signer: &Signer, known: &Head) -> anyhow::Result<bool> {
        let (stream, incarnation) = (&known.stream, &known.incarnation);
        // Before where the chain stands now: another process may archive and sign meanwhile.
        let last = self.store.last_head(stream, incarnation, None).await?;
        let head = self.store.head(stream, incarnation).await?;
        let Some(head) = head.filter(|head| head.row_count > 0) else {
            return Ok(false);
        };
        let label = signer.verifier().label();
        let own = self
            .store
            .last_head(stream, incarnation, Some(&label))
            .await?;
        if own.is_some_and(|own| own.head.sequence == head.last_sequence) {
            return Ok(false);
        }
        if let Some(problem) = self.contradiction(&head, last).await? {
            metrics::signing_refused(stream);
            tracing::error!(
                stream,
                incarnation,
                problem,
                "head is not signed: the archive is not what was signed before; see `casement audit verify`"
            );
            return Ok(false);
        }
        let statement = Statement {
            origin: signer.name().to_owned(),
            stream: stream.clone(),
            incarnation: incarnation.clone(),
            sequence: head.last_sequence,
            row_count: head.row_count,
            link: head.link,
            time: self.clock.now(),
            previous: self.previous(stream, incarnation).await?,
        };
        let time = statement.time;
        let text = statement.text().context("names of a chain have spaces")?;
        let kept = KeptHead {
            head: SignedHead {
                stream: stream.clone(),
                incarnation: incarnation.clone(),
                sequence: head.last_sequence,
                note: signer.sign(&text),
            },
            key_label: label,
            signed_time: time,
        };
        self.store.keep_head(&kept).await?;
        metrics::head_signed(stream);
        // Whoever keeps logs elsewhere keeps a copy of what was signed.
        tracing::info!(
            stream,
            incarnation,
            sequence = kept.head.sequence,
            link = hex::encode(head.link),
            "head of the archive signed"
        );
        Ok(true)
    }

    /// Returns where the chain does not go on from what was signed before.
    async fn contradiction(
        &self,
        head: &Head,
        last: Option<KeptHead>,
    ) -> Result<Option<String>, Error> {
        let Some(last) = last else {
            return Ok(None);
        };
        let read = note::open(&last.head.note, &self.keys.verifiers)
            .map_err(|error| error.to_string())
            .and_then(|opened| Statement::parse(opened.text).map_err(|error| error.to_string()));
        let said = match read {
            Ok(said) => said,
            Err(problem) => return Ok(Some(problem)),
        };
        if said.sequence > head.last_sequence {
            return Ok(Some(format!(
                "it had come to {} and stands at {}",
                said.sequence, head.last_sequence
            )));
        }
        let place = said.sequence.saturating_sub(1);
        let found = self
            .store
            .place_after(&head.stream, &head.incarnation, place)
            .await?;
        let is_there =
            found.is_some_and(|found| (found.sequence, found.link) == (said.sequence, said.link));
        Ok((!is_there).then(|| {
            format!(
                "row {} does not have the link that was signed",
                said.sequence
            )
        }))
    }

    async fn previous(&self, stream: &str, incarnation: &str) -> Result<Option<Previous>, Error> {
        let Some(life) = self.store.life(stream, incarnation).await? else {
            return Ok(None);
        };
        if life.previous_incarnation.is_empty() {
            return Ok(None);
        }
        let head = self.store.head(stream, &life.previous_incarnation).await?;
        Ok(head.filter(|head| head.row_count > 0).map(|head| Previous {
            incarnation: head.incarnation,
            sequence: head.last_sequence,
            link: head.link,
        }))
    }
}

fn tell(signed: anyhow::Result<usize>) {
    if let Err(error) = signed {
        tracing::warn!(
            error = format!("{error:#}"),
            "heads are not signed this time"
        );
    }
}
