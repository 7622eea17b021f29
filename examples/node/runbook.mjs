// Puts a link to the runbook of the object's kind in front of the payload. Needs Node.js 20 and nothing else.
import { createServer } from "node:http";

const needed = "id source type subject time specversion cluster apiversion kind name partitionkey via".split(" ");
const manifests = { Add: ["object"], Update: ["object", "oldObject"], Delete: ["oldObject"] };

const server = createServer({ maxHeaderSize: 256 << 10 }, async (request, response) => {
  const answer = (status, text, headers) => response.writeHead(status, headers).end(text);
  const refuse = (status, text) => answer(status, text + "\n", { "Content-Type": "text/plain" });
  if (request.method !== "POST") return refuse(405, "want POST");
  let body = "", size = 0;
  for await (const chunk of request.setEncoding("utf8")) {
    size += Buffer.byteLength(chunk);
    if (size <= 8 << 20) body += chunk;
  }
  if (size > 8 << 20) return refuse(413, "the body is larger than 8 MiB");
  try {
    const is = ([name]) => name.startsWith("ce-");
    let event = Object.fromEntries(Object.entries(request.headers).filter(is).map(([name, value]) => [name.slice(3), value]));
    // JSON.parse would round large numbers, so the text of the data stays as it is.
    ...
