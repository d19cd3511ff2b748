use super::*;
use std::string::String;
use std::vec::Vec;

fn masked(program: &str, args: &[&str]) -> Vec<String> {
    let mut masker = Masker::new(program.as_bytes());
    let one = |arg: &&str| {
        let mut out = Text::<1024>::new();
        masker.arg(arg.as_bytes(), &mut out);
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    };
    args.iter().map(one).collect()
}

#[test]
fn options_with_their_value() {
    for (given, shown) in [
        ("--password=hunter2", "--password=***"),
        ("-password=hunter2", "-password=***"),
        ("--db-password=a b=c,d;e", "--db-password=***"),
        ("--PASSWORD=x", "--PASSWORD=***"),
        ("--dbPassword=x", "--dbPassword=***"),
        ("--api-key=x", "--api-key=***"),
        ("--apikey=x", "--apikey=***"),
        ("--secret_access_key=x", "--secret_access_key=***"),
        ("--token=x", "--token=***"),
        ("--auth=u:x", "--auth=***"),
        ("--dsn=postgres://u:x@h/d", "--dsn=***"),
        ("--sentry-dsn=https://x@o1.ingest/2", "--sentry-dsn=***"),
        ("--requirepass=x", "--requirepass=***"),
        ("--db.pass=x", "--db.pass=***"),
        ("--pw=x", "--pw=***"),
        ("--pwd=x", "--pwd=***"),
        ("--credentials=x", "--credentials=***"),
        (
            "-Dspring.datasource.password=x",
            "-Dspring.datasource.password=***",
        ),
        (
            "-Djavax.net.ssl.keyStorePassword=x",
            "-Djavax.net.ssl.keyStorePassword=***",
        ),
        ("API_TOKEN=x", "API_TOKEN=***"),
        ("--password:x", "--password:***"),
        ("--password=", "--password="),
        ("--port=8080", "--port=8080"),
        ("--compass=north", "--compass=***"),
        ("--bypass-cache=1", "--bypass-cache=***"),
        ("--passive=1", "--passive=1"),
        ("--path=/tmp/a", "--path=/tmp/a"),
        ("-e=MYSQL_ROOT_PASSWORD=x", "-e=MYSQL_ROOT_PASSWORD=***"),
    ] {
        assert_eq!(masked("server", &[given]), [shown], "{given}");
    }
}

#[test]
fn options_whose_value_comes_next() {
    assert_eq!(
        masked("s", &["--password", "x", "y"]),
        ["--password", "***", "y"]
    );
    assert_eq!(
        masked("s", &["--token", "-x", "y"]),
        ["--token", "***", "y"]
    );
    assert_eq!(
        masked("s", &["-auth", "a:b", "--port", "80"]),
        ["-auth", "***", "--port", "80"]
    );
    assert_eq!(
        masked("s", &["--auth", "--password", "x", "y"]),
        ["--auth", "--password", "***", "y"]
    );
    assert_eq!(
        masked("s", &["--auth", "--password=x", "y"]),
        ["--auth", "--password=***", "y"]
    );
    assert_eq!(
        masked("s", &["--secret", "-token", "x"]),
        ["--secret", "***", "***"]
    );
    assert_eq!(masked("s", &["--password=x", "y"]), ["--password=***", "y"]);
    assert_eq!(masked("s", &["password", "x"]), ["password", "x"]);
    assert_eq!(masked("s", &["--verbose", "x"]), ["--verbose", "x"]);
    assert_eq!(masked("s", &["--", "-", "x"]), ["--", "-", "x"]);
}

#[test]
fn user_info_of_urls() {
    for (given, shown) in [
        ("postgres://u:x@h:5432/d", "postgres://***@h:5432/d"),
        (
            "--db=postgres://u:x@h/d?sslmode=require",
            "--db=postgres://***@h/d?sslmode=require",
        ),
        ("redis://:x@h:6379/0", "redis://***@h:6379/0"),
        ("https://ghp_x@github.com/a/b", "https://***@github.com/a/b"),
        ("https://u:p@x@h/", "https://***@h/"),
        ("postgres://u:p/x@h/d", "postgres://***@h/d"),
        ("postgres://u:p?x#x@h/d", "postgres://***@h/d"),
        (
            "mongodb://u:x@h1:1,h2:2/d?authSource=admin",
            "mongodb://***@h1:1,h2:2/d?authSource=***",
        ),
        ("http://h:80/path@x", "http://h:80/path@x"),
        ("http://h/@scope/pkg", "http://h/@scope/pkg"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("http://h/?a=1&token=x&b=2", "http://h/?a=1&token=***&b=2"),
        ("http://h/?password=x", "http://h/?password=***"),
        (
            "--proxy=http://u:x@p:3128,http://v:x@q:3128",
            "--proxy=http://***@p:3128,http://***@q:3128",
        ),
        (
            "a http://u:x@h/ b http://v:x@i/ c",
            "a http://***@h/ b http://***@i/ c",
        ),
        ("root:x@tcp(h:3306)/d", "***@tcp(h:3306)/d"),
        ("--db=root:p/x@tcp(h:3306)/d", "--db=***@tcp(h:3306)/d"),
        ("repo/image:tag@sha256", "repo/image:tag@sha256"),
        ("git@host:path", "git@host:path"),
        ("amqp+ssl://u:x@h//v", "amqp+ssl://***@h//v"),
    ] {
        assert_eq!(masked("server", &[given]), [shown], "{given}");
    }
}

#[test]
fn pairs_inside_a_larger_text() {
    for (given, shown) in [
        ("host=h password=x dbname=d", "host=h password=*** dbname=d"),
        (
            "host=h password='x y' dbname=d",
            "host=h password='***' dbname=d",
        ),
        (
            "Server=h;Password=x;Database=d",
            "Server=h;Password=***;Database=d",
        ),
        ("user=u,password=a,b,name=c", "user=u,password=***,name=c"),
        (
            r#"{"user":"u","password":"x","n":1}"#,
            r#"{"user":"u","password":"***","n":1}"#,
        ),
        (r#"{"token": "x"}"#, r#"{"token": "***"}"#),
        ("Authorization: Bearer x", "Authorization: ***"),
        ("X-Api-Key: x", "X-Api-Key: ***"),
        (
            "{user: u, secret: x, port: 1}",
            "{user: u, secret: ***, port: 1}",
        ),
        ("run --password=x", "run --password=***"),
    ] {
        assert_eq!(masked("server", &[given]), [shown], "{given}");
    }
}

#[test]
fn letters_of_known_tools() {
    assert_eq!(
        masked("/usr/bin/mysql", &["-uroot", "-px", "-p", "db"]),
        ["-uroot", "-p***", "-p", "db"]
    );
    assert_eq!(
        masked("curl", &["-u", "a:x", "-ub:x"]),
        ["-u", "***", "-u***"]
    );
    assert_eq!(
        masked("redis-cli", &["-a", "x", "ping"]),
        ["-a", "***", "ping"]
    );
    assert_eq!(masked("nginx", &["-p", "/etc/nginx"]), ["-p", "/etc/nginx"]);
}

#[test]
fn words_of_one_variable() {
    let mut out = Text::<256>::new();
    Masker::new(b"").words(b"-Xmx2g  -Dx.password=s3 -Dy=1 --token s4 -z", &mut out);
    assert_eq!(
        out.as_bytes(),
        b"-Xmx2g  -Dx.password=*** -Dy=1 --token *** -z"
    );
}

#[test]
fn no_secret_survives_in_any_surrounding() {
    let secret = "hunter2";
    for name in [
        "password",
        "secret",
        "token",
        "key",
        "auth",
        "dsn",
        "passphrase",
    ] {
        for pattern in [
            "--N=S",
            "-N=S",
            "N=S",
            "x,N=S",
            "a=b;N=S",
            "--o=N=S",
            "\"N\":\"S\"",
            "{'N':'S'}",
            "N: S",
            "--my-N=S",
            "--N-file=S",
            "u://h/?N=S&x=1",
            "u://h?x=1&N=S",
            "N = S",
            "\\\"N\\\": \\\"S\\\"",
            "N=\"S\"",
            "--N='S'",
            "u://S:x@h",
            "u://u:S@h/N=1",
            "--N=u://S@h",
        ] {
            let arg = pattern.replace('N', name).replace('S', secret);
            let shown = masked("server", &[&arg]);
            assert!(!shown[0].contains(secret), "{arg} -> {}", shown[0]);
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut seed = 88_172_645_463_325_252u64;
    let alphabet = b"key=:@/?&;, \"'\\-tokenu.\xff\x00";
    let mut masker = Masker::new(b"mysql");
    for _ in 0..50_000 {
        let mut text = Vec::new();
        for _ in 0..seed % 30 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text.push(alphabet[(seed >> 20) as usize % alphabet.len()]);
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        masker.arg(&text, &mut Text::<64>::new());
    }
}
