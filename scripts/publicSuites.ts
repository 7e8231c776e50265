/**
 * Runs public test suites that you have downloaded, and that are not part of this repository:
 *
 * npm run test:suites -- --spf rfc7208-tests.yml --arc arc-draft-validation-tests.yml --dkim DIRECTORY --messages DIRECTORY
 *
 * - `--spf`: the suite of openspf.org, as pyspf and Debian's python3-spf have it
 * - `--arc`: ValiMail's arc_test_suite
 * - `--dkim`: signed .eml files, and `keys.yml` with `txt-records` (names and their texts). Every signature has to pass
 *   unless `results` in that file names another result for its message, such as `one.eml: fail`
 * - `--messages`: .eml files, which have to be readable and are to be delivered with the bytes that came
 *
 * The exit code is 1 if a test fails or a file cannot be read. What differs by design is listed with its reason.
 */
import * as Effect from "effect/Effect"
import { runSuites } from "./suites/run.ts"

const { failed, lines } = await Effect.runPromise(
  runSuites(process.argv.slice(2)).pipe(
    Effect.catchTag("SuiteError", ({ message }) => Effect.succeed({ lines: [message], failed: 1 }))
  )
)
for (const line of lines) console.log(line)
if (failed > 0) process.exitCode = 1
