// Streams a generation: node generate.js HOST:PORT MODEL "PROMPT" [MAX_NEW_TOKENS]
// Prints one JSON object an event, and ends with status 1 if the generation fails.
import { fileURLToPath } from "node:url";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const protos = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../protos");
const definition = protoLoader.loadSync("seodang/api/inference/v1/inference.proto", {
  includeDirs: [protos],
  enums: String,
  longs: Number,
  defaults: false,
  oneofs: true,
});
const { InferenceService } = grpc.loadPackageDefinition(definition).seodang.api.inference.v1;

const [address, model, prompt, maxNewTokens = "16"] = process.argv.slice(2);
if (!address || !model || prompt === undefined) {
  console.error('usage: node generate.js HOST:PORT MODEL "PROMPT" [MAX_NEW_TOKENS]');
  process.exit(2);
}

const client = new InferenceService(address, grpc.credentials.createInsecure());
const request = {
  model,
  prompt: { chat: { messages: [{ role: "ROLE_USER", content: prompt }] } },
  sampling: { temperature: 0 },
  maxNewTokens: Number(maxNewTokens),
};
const call = client.Generate(request, { deadline: Date.now() + 60_000 });
call.on("data", (event) => {
  console.log(JSON.stringify({ event: event.event, ...event[event.event] }));
  if (event.fault) process.exitCode = 1;
});
call.on("error", (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exitCode = 1;
});
call.on("end", () => client.close());
