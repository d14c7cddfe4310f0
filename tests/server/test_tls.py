import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.secure import talk
from support.streams import CERTIFICATE

from penstock.settings import Settings
from penstock.tls import Context, TlsError, context_of

LOCALHOST = str(CERTIFICATE)
OTHER = str(Path(CERTIFICATE).with_name("other.pem"))
CLIENT = str(Path(CERTIFICATE).with_name("client.pem"))


def make(**options: Any) -> Context:
    context = context_of(Settings(**options))
    assert context is not None
    return context


def refused(**options: Any) -> str:
    with pytest.raises(TlsError) as caught:
        context_of(Settings(**options))
    return str(caught.value)


def trusting(*files: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for path in files:
        context.load_verify_locations(path)
    return context


def test_without_a_certificate_there_is_no_tls() -> None:
    assert context_of(Settings()) is None


def test_a_client_that_trusts_the_certificate_shakes_hands_on_a_safe_protocol() -> None:
    client, server = talk(make(ssl_certfile=(LOCALHOST,)), trusting(LOCALHOST), "localhost")
    assert client.version() == server.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_protocols_are_refused() -> None:
    client = trusting(LOCALHOST)
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        talk(make(ssl_certfile=(LOCALHOST,)), client, "localhost")


def test_http_1_1_is_what_is_spoken() -> None:
    client = trusting(LOCALHOST)
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert talk(make(ssl_certfile=(LOCALHOST,)), client, "localhost")[0].selected_alpn_protocol() == "http/1.1"


def test_no_second_handshake_is_taken_in_a_connection() -> None:
    assert make(ssl_certfile=(LOCALHOST,)).options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("name, file", [
    ("localhost", LOCALHOST), ("other.example", OTHER), ("OTHER.example", OTHER), ("one.wild.example", OTHER),
])
def test_the_name_that_is_asked_for_chooses_the_certificate(name: str, file: str) -> None:
    client, server = talk(make(ssl_certfile=(LOCALHOST, OTHER)), trusting(file), name)
    assert client.getpeercert()
    assert isinstance(server.context, Context) and server.context.certificate in Path(file).read_text(encoding="ascii")


@pytest.mark.parametrize("name", ["nobody.example", "a.b.wild.example", "wild.example", "127.0.0.1"])
def test_an_unknown_name_gets_the_first_certificate(name: str) -> None:
    client = trusting(LOCALHOST)
    client.check_hostname = False
    assert talk(make(ssl_certfile=(LOCALHOST, OTHER)), client, name)[0].getpeercert()


def test_the_key_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    text = Path(OTHER).read_text(encoding="ascii")
    begin = text.index("-----BEGIN CERTIFICATE")
    (tmp_path / "key").write_text(text[:begin], encoding="ascii")
    (tmp_path / "certificate").write_text(text[begin:], encoding="ascii")
    context = make(ssl_certfile=(str(tmp_path / "certificate"),), ssl_keyfile=(str(tmp_path / "key"),))
    assert context.certificate == text[begin:]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="encrypting a key needs the openssl command")
def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["openssl", "ec", "-in", OTHER, "-aes128", "-passout", "pass:secret", "-out", key], check=True, capture_output=True)
    files: dict[str, Any] = {"ssl_certfile": (OTHER,), "ssl_keyfile": (str(key),)}
    make(**files, ssl_keyfile_password="secret")
    assert "the password is wrong" in refused(**files, ssl_keyfile_password="guess")
    assert "it is encrypted; give its password with --ssl-keyfile-password" in refused(**files)


def test_clients_can_be_made_to_show_a_certificate() -> None:
    context = make(ssl_certfile=(LOCALHOST,), ssl_cert_reqs=2, ssl_ca_certs=CLIENT)
    with pytest.raises(ssl.SSLError, match="(?i)peer did not return a certificate"):
        talk(context, trusting(LOCALHOST), "localhost")
    known = trusting(LOCALHOST)
    known.load_cert_chain(CLIENT)
    assert talk(context, known, "localhost")[1].getpeercert()


def test_what_cannot_be_used_is_named_with_the_reason(tmp_path: Path) -> None:
    empty, missing = tmp_path / "empty", tmp_path / "missing"
    empty.write_text("")
    assert refused(ssl_keyfile=("key",)) == "--ssl-keyfile needs a --ssl-certfile: a key is nothing without its certificate"
    assert refused(ssl_certfile=(str(missing),)) == f"--ssl-certfile {missing}: No such file or directory"
    assert refused(ssl_certfile=(LOCALHOST,), ssl_keyfile=(str(missing),)) == f"--ssl-keyfile {missing}: No such file or directory"
    assert f"--ssl-certfile {empty}: " in refused(ssl_certfile=(str(empty),))
    assert refused(ssl_certfile=(LOCALHOST,), ssl_keyfile=(OTHER,)).endswith("the key is another certificate's")
    assert "give one key for each" in refused(ssl_certfile=(LOCALHOST, OTHER), ssl_keyfile=(LOCALHOST,))
    assert "--ssl-ciphers: OpenSSL knows none of 'none-such'" in refused(ssl_certfile=(LOCALHOST,), ssl_ciphers="none-such")
    assert "--ssl-version must be" in refused(ssl_certfile=(LOCALHOST,), ssl_version=99)
    assert "--ssl-cert-reqs needs --ssl-ca-certs" in refused(ssl_certfile=(LOCALHOST,), ssl_cert_reqs=2)
    assert f"--ssl-ca-certs {missing}: No such file" in refused(ssl_certfile=(LOCALHOST,), ssl_ca_certs=str(missing))
