// Stops the kinds in STOP_KINDS, everything else continues. Needs Node.js 18 and nothing else.
import { createServer } from "node:http";

const stops = (process.env.STOP_KINDS ?? "Pod,ReplicaSet").split(",");
const needed = "id source type subject time specversion cluster apiversion kind name partitionkey via".split(" ");
const manifests = { add: ["object"], update: ["object", "oldObject"], delete: ["oldObject"] };

function check(event, data) {
  const missing = needed.filter((name) => !event[name]);
  if (missing.length) throw new Error("missing " + missing);
  const action = event.type.replace("dev.kwatchman.resource.", "");
  const whole = (name) => data[name]?.constructor === Object;
  if (data.action.toLowerCase() !== action || !manifests[action].every(whole)) throw new Error("type, action and manifests do not fit");
}

createServer({ maxHeaderSize: 256 << 10 }, async (request, response) => {
  const answer = (status, text, headers) => response.writeHead(status, headers).end(text);
  const chunks = [];
  let size = 0;
  for await (const chunk of request) if ((size += chunk.length) <= 8 << 20) chunks.push(chunk);
  if (size > 8 << 20) return answer(413, "the body is larger than 8 MiB");
  const text = Buffer.concat(chunks).toString();
  const structured = request.headers["content-type"]?.startsWith("application/cloudevents+json");
  const headers = Object.entries(request.headers).filter(([name]) => name.startsWith("ce-"));
  let event;
  try {
    event = structured ? JSON.parse(text) : Object.fromEntries(headers.map(([name, value]) => [name.slice(3), value]));
    check(event, structured ? event.data : JSON.parse(text));
  } catch (error) {
    return answer(400, ("no event of kwatchman: " + error.message).slice(0, 700));
  }
  if (`${event.continue}`.toLowerCase() === "false") return answer(204, "", { "Kwatchman-Reason": "another function stopped it" });
  if (stops.includes(event.kind)) return answer(204, "", { "Kwatchman-Reason": `nobody reads about a ${event.kind}` });
  // The text goes on as it came: JSON.parse rounds large numbers. In either mode the flag is set.
  if (!structured) return answer(200, text, { ...Object.fromEntries(headers), "ce-continue": "true", "Content-Type": "application/json" });
  answer(200, event.continue ? text : text.replace("{", '{"continue":"true",'), { "Content-Type": "application/cloudevents+json" });
}).listen(process.env.PORT ?? 8080);
