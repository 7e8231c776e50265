/** Runs Effect's build of the TypeScript compiler with the given arguments. */
import { effectTsc } from "./repository.ts"

process.exitCode = effectTsc(process.argv.slice(2), "inherit").status
