// Validates an AsyncAPI document with the parser of the AsyncAPI project, and writes it as JSON with
// every reference resolved. What is wrong with it goes to standard error, and the exit code is 1.
//
// It says nothing about whether the document is true; tests/claims/asyncapi.rs does.

import { DiagnosticSeverity, Parser, fromFile } from "@asyncapi/parser";

const [path] = process.argv.slice(2);
const { document, diagnostics } = await fromFile(new Parser(), path).parse();
const wrong = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
for (const { path: place, message } of wrong) console.error(`${place.join(".")}: ${message}`);
if (wrong.length > 0 || !document) process.exit(1);

// Traits are applied by the parser, and references replaced; what is told is what subscribers get.
process.stdout.write(JSON.stringify(document.json()));
