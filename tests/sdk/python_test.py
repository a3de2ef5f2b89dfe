"""Pusher's own server SDK for Python against a real server and real WebSocket clients.

    dev/run target/sdk-python/bin/python tests/sdk/python_test.py -v

Names begin with the item of the protocol that they show. Nothing here sleeps: what is waited for is a log line or an
event. PATIENCE_S only turns a hang into a failure.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

import nacl.secret
import pusher.errors
import pusher.http
from pusher import Pusher
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE_S = 60
BINARY = os.environ.get("FANFARE_BINARY") or str(pathlib.Path(__file__).parents[2] / "target/release/fanfare")
APP = {"id": "3", "key": "278d425bdf160c739803", "secret": "7ad3773142a6692b25b8"}
MASTER_KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


class Compact(json.JSONEncoder):
    """The examples were signed without spaces."""

    def __init__(self, **options):
        super().__init__(**{**options, "separators": (",", ":")})


class Server:
    """A real server process."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        configuration = {
            "listen": "127.0.0.1:0",
            "socket": self.folder.name + "/f.sock",
            "shards": 2,
            "log": {"level": "info", "format": "json"},
            "apps": [APP],
        }
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        json.dump(configuration, self.process.stdin)
        self.process.stdin.close()
        for line in self.process.stderr:
            if '"serving"' in line:
                self.port = int(json.loads(line)["fields"]["listen"].rsplit(":", 1)[1])
                return
        raise AssertionError(f"the server ended with {self.process.wait()}")

    def stop(self):
        self.process.terminate()
        self.process.stderr.read()
        outcome = self.process.wait(PATIENCE_S)
        self.process.stderr.close()
        self.folder.cleanup()
        assert outcome == 0, f"expected the server to end with 0, but found {outcome}"


class Client:
    """A Pusher client that does as it is told."""

    def __init__(self, socket):
        self.socket = socket
        self.socket_id = json.loads(self.event("pusher:connection_established")["data"])["socket_id"]

    def send(self, event, data):
        self.socket.send(json.dumps({"event": event, "data": data}))

    def event(self, name):
        """The next event, which has to have this name."""
        event = json.loads(self.socket.recv(timeout=PATIENCE_S))
        assert event["event"] == name, f"expected {name}, but found {event}"
        return event

    def subscribe(self, channel, authorization=None):
        self.send("pusher:subscribe", {"channel": channel, **(authorization or {})})
        return self.event("pusher_internal:subscription_succeeded")

    def sign_in(self, authentication):
        self.send("pusher:signin", authentication)
        return self.event("pusher:signin_success")

    def settle(self):
        """Proves that nothing else was said until now."""
        self.send("pusher:ping", {})
        self.event("pusher:pong")

    def close_code(self):
        """The code of the close frame, past what was said before it."""
        try:
            while True:
                self.socket.recv(timeout=PATIENCE_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.pusher = cls.sdk()

    @classmethod
    def sdk(cls, **options):
        return Pusher(
            **{
                "app_id": APP["id"],
                "key": APP["key"],
                "secret": APP["secret"],
                "host": "127.0.0.1",
                "port": cls.server.port,
                "ssl": False,
                "timeout": PATIENCE_S,
                "encryption_master_key_base64": MASTER_KEY,
                **options,
            }
        )

    def connect(self, *channels):
        url = f"ws://127.0.0.1:{self.server.port}/app/{APP['key']}?protocol=7"
        client = Client(self.enterContext(connect(url, proxy=None)))
        for channel in channels:
            client.subscribe(channel)
        return client

    def join(self, client, channel, user_id):
        authorization = self.pusher.authenticate(channel, client.socket_id, {"user_id": user_id})
        return client.subscribe(channel, authorization)

    def test_a4_the_documented_signatures(self):
        sdk = self.sdk(json_encoder=Compact)
        presence = {"user_id": 10, "user_info": {"name": "Mr. Pusher"}}
        for authorization, signature in [
            (
                sdk.authenticate("private-foobar", "1234.1234"),
                "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
            ),
            (
                sdk.authenticate("presence-foobar", "1234.1234", presence),
                "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
            ),
            (
                sdk.authenticate_user("1234.1234", {"id": "12345"}),
                "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba",
            ),
        ]:
            self.assertEqual(authorization["auth"], f"{APP['key']}:{signature}")

    def test_a1_a2_a3_the_server_takes_what_the_sdk_authorizes(self):
        client = self.connect()
        client.subscribe("private-a", self.pusher.authenticate("private-a", client.socket_id))
        members = json.loads(self.join(client, "presence-a", 10)["data"])["presence"]
        self.assertEqual((members["count"], members["ids"]), (1, ["10"]))
        told = client.sign_in(self.pusher.authenticate_user(client.socket_id, {"id": "1"}))
        self.assertEqual(json.loads(told["data"]["user_data"])["id"], "1")

    def test_h4_trigger_to_one_channel_and_to_many(self):
        client = self.connect("news", "sport")
        self.assertEqual(self.pusher.trigger("news", "one", {"a": 'ü"\n'}), {})
        self.assertEqual(json.loads(client.event("one")["data"]), {"a": 'ü"\n'})
        self.assertEqual(self.pusher.trigger(["sport", "quiet", "news"], "many", "a text"), {})
        self.assertEqual([client.event("many")["channel"] for _ in range(2)], ["sport", "news"])
        client.settle()

    def test_h5_a_batch(self):
        client = self.connect("news", "sport")
        batch = [{"channel": ["sport", "news"][n % 2], "name": f"e{n}", "data": {"n": n}} for n in range(10)]
        self.assertEqual(self.pusher.trigger_batch(batch), {})
        self.assertEqual([json.loads(client.event(f"e{n}")["data"])["n"] for n in range(10)], list(range(10)))
        batch = [{"channel": "news", "name": "e", "data": ""}, {"channel": "news", "name": "e", "data": ""}]
        batch[1]["info"] = "subscription_count"
        self.assertEqual(self.pusher.trigger_batch(batch), {"batch": [{}, {"subscription_count": 1}]})

    def test_h13_the_excluded_socket_is_left_out(self):
        sender, other = self.connect("h13"), self.connect("h13")
        self.pusher.trigger("h13", "e", "first", sender.socket_id)
        self.pusher.trigger("h13", "e", "second")
        self.assertEqual([other.event("e")["data"], other.event("e")["data"]], ["first", "second"])
        self.assertEqual(sender.event("e")["data"], "second")

    def test_h6_h7_h8_channels_a_channel_and_users(self):
        client = self.connect("h6-news")
        self.join(client, "presence-h6", "u=1")
        self.assertEqual(self.pusher.channels_info("h6-"), {"channels": {"h6-news": {}}})
        self.assertEqual(self.pusher.channels_info("nothing"), {"channels": {}})
        counted = self.pusher.channels_info("presence-h6", ["user_count"])
        self.assertEqual(counted, {"channels": {"presence-h6": {"user_count": 1}}})
        one = self.pusher.channel_info("presence-h6", ["user_count", "subscription_count"])
        self.assertEqual(one, {"occupied": True, "user_count": 1, "subscription_count": 1})
        self.assertEqual(self.pusher.channel_info("nobody"), {"occupied": False})
        self.assertEqual(self.pusher.users_info("presence-h6"), {"users": [{"id": "u=1"}]})
        with self.assertRaises(pusher.errors.PusherBadRequest):
            self.pusher.channels_info(attributes=["user_count"])
        with self.assertRaises(pusher.errors.PusherBadRequest):
            self.pusher.users_info("news")

    def test_h9_terminating_a_users_connections(self):
        user, other = self.connect(), self.connect("news")
        user.sign_in(self.pusher.authenticate_user(user.socket_id, {"id": "9"}))
        # The SDK's own method (as of 3.3.4) leaves the app out of the path; the rest of it is right.
        sdk = self.pusher._pusher_client
        path = f"/apps/{APP['id']}/users/9/terminate_connections"
        self.assertEqual(sdk.http.send_request(pusher.http.Request(sdk, pusher.http.POST, path, {})), {})
        self.assertEqual(user.close_code(), 4009)
        other.settle()

    def test_n4_sending_to_a_user(self):
        clients = [self.connect(), self.connect()]
        for client in clients:
            client.sign_in(self.pusher.authenticate_user(client.socket_id, {"id": "7"}))
            client.subscribe("#server-to-user-7")
        self.assertEqual(self.pusher.send_to_user("7", "e", {"a": 1}), {})
        for client in clients:
            self.assertEqual(json.loads(client.event("e")["data"]), {"a": 1})

    def test_a5_what_is_triggered_on_an_encrypted_channel_is_read_with_the_shared_secret(self):
        channel = "private-encrypted-foo"
        client = self.connect()
        authorization = self.pusher.authenticate(channel, client.socket_id)
        shared_secret = authorization["shared_secret"]
        self.assertEqual(shared_secret, b"mi6ujdNqJtS1E+MI32Ma63nvdhVlkio2R84zbolRcMg=")
        client.subscribe(channel, {"auth": authorization["auth"]})
        self.pusher.trigger(channel, "e", {"secret": "ü"})
        sealed = {name: base64.b64decode(value) for name, value in json.loads(client.event("e")["data"]).items()}
        box = nacl.secret.SecretBox(base64.b64decode(shared_secret))
        self.assertEqual(json.loads(box.decrypt(sealed["ciphertext"], sealed["nonce"])), {"secret": "ü"})

    def test_h11_the_sdk_hears_what_is_wrong(self):
        with self.assertRaises(pusher.errors.PusherBadAuth):
            self.sdk(secret="another").trigger("news", "e", "")
        with self.assertRaises(pusher.errors.PusherBadStatus):
            self.sdk(app_id="4").trigger("news", "e", "")
        with self.assertRaises(pusher.errors.PusherBadRequest):
            self.pusher.trigger_batch([{"channel": "news", "name": "e", "data": ""} for _ in range(11)])

    def test_w_the_sdk_verifies_a_webhook(self):
        body = json.dumps({"time_ms": time.time_ns() // 1_000_000, "events": []})
        signature = hmac.new(APP["secret"].encode(), body.encode(), hashlib.sha256).hexdigest()
        self.assertEqual(self.pusher.validate_webhook(APP["key"], signature, body)["events"], [])
        self.assertIsNone(self.pusher.validate_webhook(APP["key"], signature, body + " "))


if __name__ == "__main__":
    unittest.main()
