"""The service as an ASGI app: images in, the command line's records out; models, health, OpenAPI, and the page."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from cutis import __version__
from cutis.analysis.words import NEVER
from cutis.errors import CutisError
from cutis.serve.guard import Guard
from cutis.serve.kept import Kept
from cutis.serve.log import Log
from cutis.serve.page import add_page
from cutis.serve.pool import Pool
from cutis.serve.problems import CatchAll, ImageProblem, Problem, ProblemError, answer_problems
from cutis.serve.schema import ANALYSES, BODY, PICTURE, Analyses, ModelsInUse, problems
from cutis.serve.settings import Settings
from cutis.serve.stored import store
from cutis.serve.uploads import Budget, Upload, Uploads
from cutis.serve.worker import Answer, Job, Models

__all__ = ["Service", "create_app"]

Picture = Literal["mask", "overlay", "symmetry", "class"]
Result = TypeVar("Result")


class Service:
    """What the routes share: the workers, the uploads' budget, and what the links lead to."""

    def __init__(self, settings: Settings, on_failure: Callable[[CutisError], None]) -> None:
        self.settings = settings
        models = Models(settings.model, settings.symmetry_model, settings.class_model, settings.cascade)
        self.pool = Pool(
            models,
            workers=settings.workers,
            queue=settings.queue,
            deadline_s=settings.deadline_s,
            on_failure=on_failure,
        )
        self.uploads = Uploads(settings.body_bytes, Budget(settings.inflight_bytes))
        self.kept = Kept(settings.keep_s, settings.keep_bytes)

    async def analyse(self, uploads: Sequence[Upload], **options: Any) -> list[Answer]:
        """Answers in the order of the uploads; links lead where they say, and what is to be stored is stored."""
        folder = self.settings.store
        names = [secrets.token_urlsafe(16) for _ in uploads]
        jobs = [
            Job(upload.content, upload.name, f"/v1/analyses/{name}", pictures=folder is not None, **options)
            for upload, name in zip(uploads, names, strict=True)
        ]
        answers = await self.pool.analyse(jobs)
        for name, job, answer in zip(names, jobs, answers, strict=True):
            if folder is not None and answer.error is None:
                await asyncio.to_thread(store, folder, name, answer.record, answer.pictures or {})
            if answer.links:
                self.kept.put(name, job, answer.pictures)
        return answers

    async def draw(self, job: Job) -> dict[str, bytes]:
        """All pictures of an upload."""
        (answer,) = await self.pool.analyse([job._replace(pictures=True)])
        return answer.pictures or {}


def create_app(settings: Settings, on_failure: Callable[[CutisError], None] = lambda error: None) -> FastAPI:
    """The app; its workers run from its startup to its shutdown. `on_failure` hears when they cannot."""
    service = Service(settings, on_failure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.pool.start()
        yield
        await service.pool.close()

    # FastAPI of late may send spans and messages elsewhere where the environment says so; ours never does.
    app = FastAPI(
        title="cutis",
        version=__version__,
        summary="Analysis of dermoscopic images on this machine.",
        description=f"{NEVER} Images stay on this machine; nothing is stored unless the service was started so.",
        docs_url=None,  # both pages would load scripts from elsewhere
        redoc_url=None,
        telemetry=dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False),
        lifespan=lifespan,
    )
    app.state.service = service
    _add_routes(app, service)
    answer_problems(app)
    add_page(app)
    for layer, options in ((CatchAll, {}), (Guard, {"settings": settings}), (Log, {})):  # the last one is outermost
        app.add_middleware(layer, **options)
    app.openapi = lambda: _openapi(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/analyses", responses={**ANALYSES, **problems(408, 413, 415, 422, 503, 507)}, openapi_extra=BODY,
        tags=["analyses"], operation_id="analyse",
    )  # fmt: skip
    async def analyse(
        request: Request,
        hair_removal: Annotated[bool, Query(description="take hair out before the lesion is looked for")] = False,
        mm_per_pixel: Annotated[float | None, Query(gt=0, lt=100, description="scale of the full-size image")] = None,
        inline: Annotated[bool, Query(description="pictures as data URLs in the record instead of links")] = False,
    ) -> Response:
        """Analyse one image, sent as the body, or several, sent as files of a form.

        An image is answered with its record, files with `analyses` in their order. Links in a record lead to its
        pictures for a few minutes."""
        service.pool.check_room()
        is_form = not request.headers.get("content-type", "").strip().lower().startswith("image/")
        try:
            async with service.uploads.read(request) as uploads:
                options = {"hair_removal": hair_removal, "mm_per_pixel": mm_per_pixel, "inline": inline}
                answers = await _while_connected(request, service.analyse(uploads, **options))
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        return _answer(answers, is_form)

    @app.get(
        "/v1/analyses/{identity}/{picture}.png", responses={**PICTURE, **problems(404, 422, 503)},
        response_class=Response, tags=["analyses"], operation_id="picture",
    )  # fmt: skip
    async def picture(identity: str, picture: Picture) -> Response:
        """The mask, the outline on the picture, or where the symmetry or the class network looked."""
        png = await service.kept.picture(identity, picture, service.draw)
        if png is None:
            kept = f"pictures are kept for {service.settings.keep_s:g} s, fewer where there are many"
            raise ProblemError(404, f"there is no such picture, or no longer: {kept}; send the image again")
        return Response(png, media_type="image/png")

    @app.get("/v1/models", responses=problems(503), tags=["service"], operation_id="models")
    async def models() -> ModelsInUse:
        """The networks that answer, with the SHA-256 of their files."""
        found = service.pool.models
        if found is None or found[0] is None:
            raise _not_ready()
        return ModelsInUse(segmentation=found[0], symmetry=found[1], diagnosis=found[2], cutis=__version__)

    @app.get("/healthz", tags=["service"], operation_id="healthz")
    async def healthz() -> dict[str, Literal["alive"]]:
        """Whether the service answers at all."""
        return {"status": "alive"}

    @app.get("/readyz", responses=problems(503), tags=["service"], operation_id="readyz")
    async def readyz() -> dict[str, Literal["ready"]]:
        """Whether every worker has its networks loaded and warm."""
        if not service.pool.ready:
            raise _not_ready()
        return {"status": "ready"}


def _answer(answers: Sequence[Answer], is_form: bool) -> Response:
    """The workers' JSON as it is. Where nothing could be analysed that is a problem, not an answer."""
    bad = [ImageProblem(index=place, detail=answer.error) for place, answer in enumerate(answers) if answer.error]
    if len(bad) == len(answers):
        detail = bad[0].detail if len(bad) == 1 else f"none of the {len(bad)} images could be analysed"
        raise ProblemError(422, detail, name="bad-image", problems=bad if is_form else None)
    if not is_form:
        return Response(answers[0].record, media_type="application/json")
    records = b",".join(answer.record for answer in answers)
    told = JSONResponse([problem.model_dump() for problem in bad]).body
    return Response(b'{"analyses":[%b],"problems":%b}' % (records, told), media_type="application/json")


async def _while_connected(request: Request, work: Awaitable[Result]) -> Result:
    """Cancel the work when the client goes away; what is in a worker's hands ends there, what waits is dropped."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _not_ready() -> ProblemError:
    what = "the networks are being loaded: try again in a moment"
    return ProblemError(503, what, name="not-ready", headers={"Retry-After": "2"})


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=[{"name": "analyses"}, {"name": "service"}],
        )
        for model in (Problem, Analyses):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas = described["components"]["schemas"]
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        app.openapi_schema = described
    return app.openapi_schema
