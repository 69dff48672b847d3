//! Certificates for servers on loopback.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error as RcgenError, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::{error::Error, folder::Folder, program::User};

/// A certificate authority of this test only, and a certificate of it for `localhost` and 127.0.0.1.
#[derive(Clone)]
pub struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// New ones.
    ///
    /// # Errors
    /// If there are no random numbers to make them of.
    pub fn new() -> Result<Certificates, Error> {
        Certificates::make().map_err(|error| Error::Refused(error.to_string()))
    }

    fn make() -> Result<Certificates, RcgenError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Ok(Certificates { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The authority's certificate (PEM), which clients trust.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What a server reads: `ca.pem`, `server.pem`, `server.key`.
    pub(crate) fn write_to(&self, folder: &Folder, user: Option<User>) -> Result<(), Error> {
        folder.write("ca.pem", &self.authority, user)?;
        folder.write("server.pem", &self.certificate, user)?;
        folder.write("server.key", &self.key, user)?;
        Ok(())
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}
