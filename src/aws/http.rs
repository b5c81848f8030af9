//! One HTTP client for all services.

use std::thread;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;

/// An HTTPS client as the SDK makes one by default, proxies from the environment included, but shared by the services
/// and made ready beside the start.
///
/// Making it ready is reading the system's root certificates: most of what there is to do before the first event, and
/// needed only for the first call. By itself, the SDK parses them for each service, and has the start wait for it.
pub(super) fn client() -> SharedHttpClient {
    let inner = Builder::new().build_with_connector_fn(|settings, components| {
        let mut builder = ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder.set_proxy_config(Some(ProxyConfig::from_env()));
        builder.build()
    });
    let ready = inner.clone();
    // A thread that cannot be had is no harm: then the first call reads them.
    _ = thread::Builder::new().name("certificates".into()).spawn(move || {
        ready.validate_base_client_config(&RuntimeComponentsBuilder::new("start"), &ConfigBag::base())
    });
    SharedHttpClient::new(Shared(inner))
}

/// Leaves out what the SDK does to make a client ready.
#[derive(Debug)]
struct Shared(SharedHttpClient);

impl HttpClient for Shared {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}
