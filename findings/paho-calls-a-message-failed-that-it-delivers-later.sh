#!/usr/bin/env bash
# paho-mqtt 2.2.0 calls a message failed that it has kept, and delivers it once it is connected.
#
# Expected: what `publish` returns with the code MQTT_ERR_NO_CONN (4), and of which `is_published` and
# `wait_for_publish` raise "Message publish failed", was not published: the caller has to send it again.
# Seen: for quality of service 1 and 2 the message stays in the client. After the next connection it arrives, and
# `on_publish` is called with its number. `is_published` and `wait_for_publish` of the same message still raise
# RuntimeError: what `publish` returned once never changes.
# With quality of service 0 the message is lost, and the code is the same.
# Why it matters: a camera's program that keeps what failed and sends it again after a lost connection sends it twice;
# one that trusts the queue of the client cannot see in what it was given whether the message has arrived.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paho-mqtt==2.2.0 amqtt==0.12.1

timeout 60 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import logging
import socket
import sys
import threading
import time
from importlib.metadata import version

import paho.mqtt.client as mqtt
from amqtt.broker import Broker

logging.disable(logging.CRITICAL)
print(f"paho-mqtt {version('paho-mqtt')}, against the broker of amqtt {version('amqtt')}")
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
settings = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
    "auth": {"allow-anonymous": True},
}


async def serve():
    """Start a broker."""
    broker = Broker(settings)
    await broker.start()
    return broker


broker = asyncio.run_coroutine_threadsafe(serve(), loop).result(20)


def new_client(name):
    """Return a client that is not connected."""
    return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name)


def until(condition):
    """Wait for something that comes within some seconds."""
    end = time.monotonic() + 15
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def told(message):
    """Return the answer of `is_published`, or the error that it raises."""
    try:
        return message.is_published()
    except RuntimeError as error:
        return f"RuntimeError: {error}"


arrived, subscribed = [], threading.Event()
reader = new_client("reader")
reader.on_connect = lambda client, *_: client.subscribe("camera/#", 1)
reader.on_subscribe = lambda *_: subscribed.set()
reader.on_message = lambda _client, _data, message: arrived.append(message.topic)
reader.connect("127.0.0.1", port)
reader.loop_start()
subscribed.wait(15)

sender, published = new_client("sender"), []
sender.on_publish = lambda _client, _data, number, *_: published.append(number)
messages = {qos: sender.publish(f"camera/{qos}", b"drift", qos) for qos in (0, 1, 2)}
before = {qos: (message.rc, told(message)) for qos, message in messages.items()}
for qos, (code, said) in before.items():
    print(f"not connected, quality of service {qos}: code {code}, is_published: {said}")
sender.connect("127.0.0.1", port)
sender.loop_start()
until(lambda: len(arrived) >= 2 and len(published) >= 2)
time.sleep(1)
print(f"connected: arrived {sorted(arrived)}, on_publish called {len(published)} times")
after = {qos: told(messages[qos]) for qos in (1, 2)}
print(f"is_published of what arrived: {after[1]}")
same = all(code == 4 and str(said).startswith("RuntimeError") for code, said in before.values())
same = same and sorted(arrived) == ["camera/1", "camera/2"]
same = same and sorted(published) == sorted(messages[qos].mid for qos in (1, 2))
same = same and all(str(said).startswith("RuntimeError") for said in after.values())
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
