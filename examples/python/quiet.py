"""Stops what happens in kube-system, everything else continues. Needs Python 3.9 and nothing else."""
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEEDED = "id source type subject time specversion cluster apiversion kind name partitionkey via".split()
MANIFESTS = {"add": ["object"], "update": ["object", "oldObject"], "delete": ["oldObject"]}

def check(event, data):
    missing = [name for name in NEEDED if not event.get(name)]
    action = str(event.get("type")).replace("dev.kwatchman.resource.", "")
    if missing or data["action"].lower() != action or not all(isinstance(data[m], dict) for m in MANIFESTS[action]):
        raise ValueError(f"missing {missing}" if missing else "type, action and manifests do not fit")

class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open for the next event
    def do_POST(self):
        if (size := int(self.headers.get("Content-Length", 9 << 20))) > 8 << 20:  # the watcher always says it
            return self.answer(413, {"Connection": "close"}, "the body is larger than 8 MiB")
        event = {k.lower()[3:]: v for k, v in self.headers.items() if k.lower().startswith("ce-")}
        try:
            data = json.loads(self.rfile.read(size))
            if self.headers.get("Content-Type", "").startswith("application/cloudevents+json"):
                event, data = data, data.pop("data")
            check(event, data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return self.answer(400, {}, f"no event of kwatchman: {repr(error):.300}")
        if str(event.get("continue")).lower() == "false" or event.get("namespace") == "kube-system":
            return self.answer(204, {"Kwatchman-Reason": "nobody reads kube-system"}, "")
        headers = {"ce-" + k: v for k, v in event.items() if k != "datacontenttype"} | {"ce-continue": "true"}
        self.answer(200, headers | {"Content-Type": "application/json"}, json.dumps(data))
    def answer(self, status, headers, text):
        self.send_response(status)
        for header in {**headers, "Content-Length": len(text)}.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(text.encode())

ThreadingHTTPServer.request_queue_size = 64
ThreadingHTTPServer(("", int(os.environ.get("PORT", 8080))), Quiet).serve_forever()
