import { describe } from "vitest"
import { transportSuite } from "./transportSuite.ts"

describe("worker protocol over WebSocket", () => transportSuite("ws"))
