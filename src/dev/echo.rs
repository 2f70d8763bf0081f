//! The upstream for those who have none: answers with what it received, so that one can see what the gateway has
//! added and taken away.

use std::convert::Infallible;
use std::fmt::Display;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Map, Value, json};

/// How many bytes of a body are shown; the rest is counted.
const SHOWN: usize = 64 * 1024;

/// Answers one request with a JSON description of it. A body that breaks off is described as far as it came.
///
/// # Errors
/// None: the type is what hyper wants of a service.
pub async fn answer<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let (head, body) = request.into_parts();
    let received = Received::read(body).await;
    let mut description = json!({
        "upstream": "torwart dev echo",
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": describe(&head.headers),
        "body": String::from_utf8_lossy(&received.shown),
        "body_bytes": received.length,
    });
    if let Some(members) = description.as_object_mut() {
        if received.length > received.shown.len() as u64 {
            members.insert("body_cut_after".to_owned(), json!(received.shown.len()));
        }
        if let Some(trailers) = &received.trailers {
            members.insert("trailers".to_owned(), describe(trailers));
        }
        if let Some(error) = received.broken {
            members.insert("body_broken".to_owned(), json!(error));
        }
    }
    let mut response = Response::new(Full::new(Bytes::from(format!("{description:#}\n"))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

#[derive(Default)]
struct Received {
    shown: Vec<u8>,
    length: u64,
    trailers: Option<HeaderMap>,
    broken: Option<String>,
}

impl Received {
    async fn read<B>(mut body: B) -> Self
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let mut received = Self::default();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    received.broken = Some(error.to_string());
                    break;
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    received.length += data.len() as u64;
                    let room = SHOWN.saturating_sub(received.shown.len());
                    received.shown.extend(data.iter().take(room));
                }
                Err(frame) => received.trailers = frame.into_trailers().ok(),
            }
        }
        received
    }
}

/// Each name with its value, or with the list of its values when there are several.
fn describe(headers: &HeaderMap) -> Value {
    let mut out = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> =
            headers.get_all(name).iter().map(|value| json!(String::from_utf8_lossy(value.as_bytes()))).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        out.insert(name.to_string(), value);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo(request: Request<Full<Bytes>>) -> Value {
        let response = answer(request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_answer_says_what_was_received() {
        let request = Request::post("/a?b=c")
            .header("x-one", "1")
            .header("x-two", "1")
            .header("x-two", "2")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap();
        let echoed = echo(request).await;
        assert_eq!(echoed["method"], "POST");
        assert_eq!(echoed["target"], "/a?b=c");
        assert_eq!(echoed["headers"], json!({"x-one": "1", "x-two": ["1", "2"]}));
        assert_eq!((&echoed["body"], &echoed["body_bytes"]), (&json!("hello"), &json!(5)));
        assert!(echoed.get("body_cut_after").is_none());
    }

    #[tokio::test]
    async fn a_large_body_is_counted_and_shown_in_part() {
        let body = Full::new(Bytes::from(vec![b'x'; SHOWN + 7]));
        let echoed = echo(Request::put("/").body(body).unwrap()).await;
        assert_eq!(echoed["body_bytes"], SHOWN + 7);
        assert_eq!(echoed["body_cut_after"], SHOWN);
        assert_eq!(echoed["body"].as_str().unwrap().len(), SHOWN);
    }
}
