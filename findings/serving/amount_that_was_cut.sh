#!/usr/bin/env bash
# anthropic 2.14.0: a call of a tool whose arguments were cut by max_tokens in the middle of a number. messages.stream()
# reads the JSON as far as it goes, also when the answer is over: of {"amount": 1250} that ended after "12" the final
# message holds the call with {"amount": 12}, complete to the eye and valid by the tool's schema. A text that was cut, or
# a word like true, leaves its key out, so that validation notices it; a number, a list or an object does not. Only
# stop_reason says max_tokens, which a loop that asks whether there are calls does not read. jiter's partial mode, by
# which it reads, is at the bottom of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check anthropic==2.14.0
cat > run.py <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import anthropic

def events():
    message = dict(id="m", type="message", role="assistant", model="m", content=[], stop_reason=None, stop_sequence=None)
    yield {"type": "message_start", "message": message | {"usage": {"input_tokens": 5, "output_tokens": 1}}}
    call, part = dict(type="tool_use", id="t", name="pay", input={}), dict(type="input_json_delta", partial_json=arguments)
    yield {"type": "content_block_start", "index": 0, "content_block": call}
    yield {"type": "content_block_delta", "index": 0, "delta": part}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 9}}
    yield {"type": "message_stop"}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for event in events():
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = anthropic.Anthropic(api_key="k", base_url=f"http://127.0.0.1:{server.server_port}")
for arguments in ('{"to": "Ana", "amount": 12', '{"to": "Ana", "items": [4, 1', '{"to": "An', '{"to": "Ana", "now": tr'):
    with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "Pay"}]) as stream:
        final = stream.get_final_message()
    print(f"anthropic {anthropic.__version__}, cut after {arguments}: {final.content[0].input}, {final.stop_reason}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/.*cut after //' seen) - <<'SEEN'
{"to": "Ana", "amount": 12: {'to': 'Ana', 'amount': 12}, max_tokens
{"to": "Ana", "items": [4, 1: {'to': 'Ana', 'items': [4, 1]}, max_tokens
{"to": "An: {}, max_tokens
{"to": "Ana", "now": tr: {'to': 'Ana'}, max_tokens
SEEN
