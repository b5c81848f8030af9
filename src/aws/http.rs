//! One HTTP client for all services.

use std::sync::OnceLock;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;

/// The SDK's own HTTPS client, made ready once.
pub(super) fn client() -> SharedHttpClient {
    let inner = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    SharedHttpClient::new(Shared { inner, ready: OnceLock::new() })
}

/// Each service that takes an HTTP client has it made ready, which reads all root certificates again: half of the time
/// that a cold start takes. Once is enough.
#[derive(Debug)]
struct Shared {
    inner: SharedHttpClient,
    ready: OnceLock<()>,
}

impl HttpClient for Shared {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.inner.http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        if self.ready.set(()).is_err() {
            return Ok(());
        }
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}
