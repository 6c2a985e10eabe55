//! What the bridge is measured against: an actix-web handler that reads the body and answers 202.
//!
//! Takes the address to listen on; one worker, and the bridge's own features of actix-web.

use actix_web::{App, HttpResponse, HttpServer, web};

fn main() -> std::io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8099".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = || {
            App::new().default_service(web::to(|_: web::Bytes| async {
                HttpResponse::Accepted().finish()
            }))
        };
        HttpServer::new(app).workers(1).bind(address)?.run().await
    })
}
