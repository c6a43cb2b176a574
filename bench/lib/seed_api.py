"""The peer of serve-api: its status route as a FastAPI server would have it, which reads a JSON file
for every request. It does not ask systemd whether the build runs, which would cost it a process."""

import json
import os
from datetime import datetime
from typing import Optional

from fastapi import FastAPI
from pydantic import BaseModel

STATUS_FILE = os.environ["STATUS_FILE"]


class BuildStatus(BaseModel):
    is_running: bool
    last_start: Optional[datetime]
    last_finish: Optional[datetime]
    last_status: Optional[str]
    last_commit: Optional[str]


app = FastAPI()


# Faster as a coroutine than as a function, which FastAPI hands to a pool of threads.
@app.get("/build/status", response_model=BuildStatus)
async def build_status():
    with open(STATUS_FILE, encoding="utf-8") as file:
        return json.load(file)
