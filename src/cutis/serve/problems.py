"""Every error as RFC 9457 problem details: application/problem+json with type, title, status and detail.

Nothing in them comes from an image or its name; the detail of a bad image is the line of the command line.
"""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cutis.serve.pool import BusyError, LostError

__all__ = ["CatchAll", "ImageProblem", "Problem", "ProblemError", "answer_problems", "answered"]

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("cutis.serve")


class ImageProblem(BaseModel):
    """What is wrong with one image of several."""

    index: int = Field(ge=0, description="place of the image in the request")
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:cutis:problem:bad-image",
                "title": "Bad image",
                "status": 422,
                "detail": "the image is a GIF (256 colours, often animated): give a JPEG, PNG, BMP, TIFF or WebP file",
            }
        }
    )
    type: str = Field(description="a name to tell problems apart by; about:blank for what its status says already")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    problems: list[ImageProblem] | None = Field(None, description="of each bad image, where several were sent")


class ProblemError(Exception):
    """Raised anywhere in a request: answered as it says. `name`: what the type's URN ends with; None is about:blank."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        name: str | None = None,
        headers: dict[str, str] | None = None,
        problems: list[ImageProblem] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.headers = status, headers
        self.problem = Problem(
            type=f"urn:cutis:problem:{name}" if name else "about:blank",
            title=name.replace("-", " ").capitalize() if name else HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            problems=problems,
        )


def answered(error: ProblemError) -> JSONResponse:
    """The response that says so."""
    content = error.problem.model_dump(exclude_none=True)
    return JSONResponse(content, error.status, error.headers, media_type=MEDIA_TYPE)


def answer_problems(app: FastAPI) -> None:
    """Let `app` answer every error with problem details."""

    @app.exception_handler(ProblemError)
    async def told(request: Request, error: ProblemError) -> JSONResponse:
        return answered(error)

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> JSONResponse:
        what = f"all workers are busy and the queue is full: try again in {error.retry_after} s"
        return answered(ProblemError(503, what, name="busy", headers={"Retry-After": str(error.retry_after)}))

    @app.exception_handler(LostError)
    async def lost(request: Request, error: LostError) -> JSONResponse:
        what = "the worker died over this image, twice: try again, or try another image"
        return answered(ProblemError(503, what, name="worker-died", headers={"Retry-After": "5"}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        return answered(ProblemError(422, said, name="invalid-options"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        known = {404: "there is nothing at this address", 405: "this address does not answer that method"}
        detail = known.get(error.status_code, str(error.detail))
        return answered(ProblemError(error.status_code, detail, headers=dict(error.headers or {})))


class CatchAll:
    """What nobody expected is a 500 of one line; the log gets where it happened, and no values: they may be private."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            where = "".join(traceback.format_tb(error.__traceback__))
            _LOG.error("unexpected %s; report it\n%s", type(error).__name__, where)
            if scope["type"] != "http" or begun:
                raise
            detail = "something went wrong that should not: report it, the log of the service says where"
            await answered(ProblemError(500, detail))(scope, receive, send)
