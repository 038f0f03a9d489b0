"""The command line: one thin function a verb, no logic. Everything heavy is imported inside the verb that needs it."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from cutis import __version__
from cutis.errors import CutisError, missing

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["app", "main"]

app = App(
    name="cutis",
    help="Analyse dermoscopic images of skin lesions on this device. Research use only, never a diagnosis.",
    version=__version__,
    help_format="plaintext",  # Markdown would load a parser: 0.15 s of every --help
)


@app.command
def analyze(
    images: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    output: Path,
    model: str | None = None,
    symmetry_model: str | None = None,
    class_model: str | None = None,
    no_cascade: Annotated[bool, Parameter(negative="")] = False,
    hair_removal: Annotated[bool, Parameter(negative="")] = False,
    mm_per_pixel: float | None = None,
    box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    point: Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True)] = None,
    not_point: Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True)] = None,
    refine: str | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
    runtime: str = "onnxruntime",
    profile: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find the lesion in each image, measure it, tell its symmetry and likely class, and write masks, overlays, maps,
    records and a report.

    Parameters
    ----------
    images
        Images (JPEG, PNG, BMP, TIFF, WebP) and folders of images.
    output
        Folder for results.jsonl (a line an image), masks/, overlays/, maps/ and report.html.
    model
        The network that finds the lesion: name of a bundled model, or an ONNX file that cutis exported.
    symmetry_model
        The network that tells symmetry, likewise. Default: the bundled one, where there is one.
    class_model
        The network that tells the class, likewise; it goes with the symmetry network it was trained with.
    no_cascade
        Tell neither symmetry nor class.
    hair_removal
        Take hair out of the picture before the lesion is looked for.
    mm_per_pixel
        Scale of the full-size pictures; else the file's own scale, where it has one.
    box
        x0,y0,x1,y1 in pixels of the picture: the lesion is in this box, says a person; a promptable network finds it.
    point
        x,y: the lesion is here; may be given several times. Points without a box correct the mask that was found.
    not_point
        x,y: the lesion is not here; likewise.
    refine
        A promptable network's encoder (a file that cutis exported, or a bundled one) that finds the lesion anew, asked
        by the box and the surest points of the mask that was found; with --box or --point, asked by those.
    resume
        Go on with an interrupted run: what is done is kept, what failed is tried again.
    workers
        Images analysed at the same time. Default: one a processor core, at most 16.
    runtime
        What runs the networks: onnxruntime, openvino or openvino-bf16 (cutis[openvino]), or fastest: the one that is so
        on this machine. For a .pte given as --model, with --no-cascade: executorch (cutis[executorch]).
    profile
        One image after the other, and at the end where the time went.
    """
    from cutis.analysis import console
    from cutis.analysis.batch import Options

    models = console.Models(model, symmetry_model, class_model, not no_cascade, runtime)
    options = Options(hair_removal=hair_removal, mm_per_pixel=mm_per_pixel, workers=workers)
    prompts = console.Prompts(box, point or (), not_point or (), refine)
    return console.run(images, output, models=models, options=options, resume=resume, profile=profile, prompts=prompts)


@app.command
def label(
    folder: Path,
    /,
    *,
    output: Path,
    model: str | None = None,
    refine: str | None = None,
    dataset: str | None = None,
    category: str = "lesion",
    check: int = 200,
    seed: int = 0,
    resume: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
) -> int:
    """Masks for the images of a folder that have none, with how sure each is, the least sure first: PNG files,
    labels.csv, and coco.json for an annotation tool. See docs/labelling.md.

    Parameters
    ----------
    folder
        Images, and a few masks beside them or in masks/; or a data set in its official layout.
    output
        Folder for masks/, labels.csv, coco.json and worst.jpg, outside that of the images.
    model
        The network that finds the object: name of a bundled model, an ONNX file, or a run folder.
    refine
        A promptable model that corrects what the network found: an exported one, as 'analyze' takes it; or a run, or
        the folder of SAM's or MedSAM's weights, which need cutis[train].
    dataset
        Which data set, where the folder holds several.
    category
        What the object is called in coco.json.
    check
        At most so many of your own masks are compared with predictions of the same images.
    seed
        Breaks ties between the points that the promptable model is asked with.
    resume
        Go on with what is in the output folder.
    workers
        Images at the same time. Default: one a processor core, at most 8.
    """
    from cutis.label import verb

    ask = verb.Ask(model, refine, dataset, category, check, seed, workers)
    return verb.run(folder, output, ask, resume=resume)


@app.command
def doctor(*, json: bool = False) -> int:
    """Say what works on this machine, what is missing, and what to do about it.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    from cutis.doctor import report

    return report(as_json=json)


@app.command
def demo(*, output: Path = Path("cutis-demo")) -> int:
    """Draw three lesions, analyse them with the bundled model, say where the report is.

    Parameters
    ----------
    output
        Folder for the drawings, the masks, the overlays and the report.
    """
    from cutis.demo import run

    return run(output, print)


@app.command
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    model: str | None = None,
    symmetry_model: str | None = None,
    class_model: str | None = None,
    no_cascade: Annotated[bool, Parameter(negative="")] = False,
    workers: int | None = None,
    token: Annotated[str | None, Parameter(env_var="CUTIS_TOKEN")] = None,
    allow_host: Annotated[list[str] | None, Parameter(negative="")] = None,
    tls: Annotated[bool, Parameter(negative="")] = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    store: Path | None = None,
    queue: int = 256,
    deadline: float = 30,
    max_body: float = 64,
    max_memory: float = 256,
    keep_seconds: float = 300,
    keep_memory: float = 128,
) -> int:
    """Answer over HTTP with the records of 'analyze', and show the page; needs cutis[serve]. See docs/service.md.

    Parameters
    ----------
    host
        Address to listen on. Any other than this machine's own needs --token.
    port
        Port to listen on; 0 for any free one.
    model
        The network that finds the lesion: name of a bundled model, or an ONNX file that cutis exported.
    symmetry_model
        The network that tells symmetry, likewise.
    class_model
        The network that tells the class, likewise.
    no_cascade
        Tell neither symmetry nor class.
    workers
        Processes that analyse, one image each at a time. Default: one a processor core, at most 16.
    token
        Secret that every request must bring; better in the environment, where other users do not see it.
    allow_host
        Another name that requests may ask for, of a proxy for example; may be given several times; needs --token.
    tls
        HTTPS with a self-signed certificate, made once.
    tls_cert
        HTTPS with this certificate (PEM).
    tls_key
        Its key (PEM), where it is not in the same file.
    store
        Folder to keep records and pictures in. Nothing is stored unless it is given.
    queue
        Images that may wait for a worker; more are answered 503.
    deadline
        Seconds that one may wait.
    max_body
        Megabytes that one request may send.
    max_memory
        Megabytes that all requests in hand may hold.
    keep_seconds
        How long the links of a record lead to its pictures.
    keep_memory
        Megabytes that may be kept for links; the oldest go first.
    """
    from cutis.serve.verb import run

    return run(
        host=host, port=port, model=model, symmetry_model=symmetry_model, class_model=class_model,
        cascade=not no_cascade, workers=workers, token=token, hosts=tuple(allow_host or ()), tls=tls, tls_cert=tls_cert,
        tls_key=tls_key, store=store, queue=queue, deadline_s=deadline, body_mb=max_body, inflight_mb=max_memory,
        keep_s=keep_seconds, keep_mb=keep_memory,
    )  # fmt: skip


@app.command
def evaluate(
    model: str | None = None,
    /,
    *,
    data: Path | None = None,
    predictions: Path | None = None,
    labels: Path | None = None,
    train: Path | None = None,
    classes: str | None = None,
    dataset: Annotated[list[str] | None, Parameter(negative="")] = None,
    split: str = "test",
    output: Path | None = None,
    against: Path | None = None,
    limit: int | None = None,
    symmetry_model: Path | None = None,
    segmenter: str | None = None,
) -> int:
    """Measure how well a model's masks fit the truth, or how well a classifier tells symmetry or class, image by image;
    print means with their intervals. Also of anyone's predicted classes: --predictions FILE.csv.

    Parameters
    ----------
    model
        Name of a bundled model (default: the one that `analyze` uses), an exported ONNX file, or a run folder.
    data
        Folder that holds one or more data sets in their official layouts. Needed, but for a CSV file with its truth.
    predictions
        Measured instead of a model: a folder of predicted masks (<image id>.png), or a CSV file of predicted classes:
        image id, and fold_1_pred, fold_2_pred, ..., or prediction, or the probability of each class.
    labels
        With a CSV file: the true classes of its images, image_id and dx (or true_label), lesion_id if known. Default:
        the file's own true_label, else the labels of --data.
    train
        With a CSV file: metadata of the images it was trained on, to tell the share of images whose lesion is in it.
    classes
        With a CSV file: the classes, separated by commas, in the order of their codes. Default: HAM10000's seven.
    dataset
        Only this data set; may be given several times. Default: those of the training, else all that have masks.
    split
        train, validation, test, or all; as the model's training divided its data.
    output
        Folder for rows.csv, summary.json, summary.md and a picture of the worst cases of each data set.
    against
        rows.csv of another evaluation: paired tests on the images that both have.
    limit
        At most so many images of each data set, evenly spread.
    symmetry_model
        For a lesion network that takes its map: the symmetry network's ONNX file (or run folder, for a run).
    segmenter
        For a classifier: the model whose masks it sees, as `analyze` does. Default: the data sets' own masks.
    """
    import shlex

    from cutis.evaluation import verb

    if predictions and model:
        raise CutisError("a model and --predictions are given: evaluate one of them")
    command = shlex.join(["cutis", *sys.argv[1:]])
    if predictions and not predictions.is_dir() and (predictions.is_file() or predictions.suffix.lower() == ".csv"):
        from cutis.evaluation import prediction_verb

        if limit or symmetry_model or segmenter:
            raise CutisError(
                "--limit, --symmetry-model and --segmenter are for models, not for a CSV file: leave them out"
            )
        return prediction_verb.run(
            predictions, labels=labels, train=train, classes=classes, data=data, datasets=dataset, output=output,
            against=against, command=command,
        )  # fmt: skip
    if labels or train or classes:
        raise CutisError("--labels, --train and --classes are for --predictions FILE.csv: give that file")
    if data is None:
        raise CutisError("there is nothing to measure on: give the folder of data sets with --data")
    if not predictions and (task := _task(model)) != "segmentation":
        return _evaluate_classifier(
            Path(model or ""), task, symmetry_model, segmenter, data=data, datasets=dataset, part=split, output=output,
            against=against, limit=limit, command=command,
        )  # fmt: skip
    if predictions:
        subject = verb.of_masks(predictions)
    else:
        from cutis.analysis.pipeline import predict_mask
        from cutis.analysis.runtime import load_model

        if model and Path(model).is_dir():
            subject = verb.of_run(Path(model), predict_mask)
        else:
            subject = verb.of_model(load_model(model), predict_mask)
    return verb.run(
        subject, data, datasets=dataset, part=split, output=output, against=against, limit=limit,
        command=command,
    )  # fmt: skip


def _task(model: str | None) -> str:
    """What a run folder, a file or a bundled model is for."""
    from cutis.analysis import model_file

    if model is None or not Path(model).is_dir():
        return model_file.task_of(model) if model else "segmentation"
    from cutis.recipes import folder

    return folder.task_of(Path(model))


def _evaluate_classifier(model: Path, task: str, symmetry: Path | None, segmenter: str | None, **options: Any) -> int:
    from cutis.analysis import decision
    from cutis.analysis.classifier import load_lesion, load_symmetry
    from cutis.evaluation import class_report, classifiers

    if model.is_dir():
        subject = classifiers.of_run(model, symmetry)
    else:
        decide = decision.decide_symmetry if task == "symmetry" else decision.decide_class
        load = load_symmetry if task == "symmetry" else load_lesion
        first = load_symmetry(symmetry) if symmetry else None
        subject = classifiers.of_model(load(str(model)), first, decide, task, min(8, os.cpu_count() or 1))  # type: ignore[arg-type]
    if segmenter is None:
        return class_report.run(subject, **options, mask_of=None, masks="the data sets' own")
    from cutis.analysis.pipeline import predict_mask
    from cutis.analysis.runtime import load_model

    found = load_model(segmenter)
    said = f"{found.info.name} {found.info.version}, {found.info.precision}, SHA-256 {found.info.sha256[:12]}"
    return class_report.run(subject, **options, mask_of=lambda sample: predict_mask(sample.image, found), masks=said)


data = App(name="data", help="Look at data sets before anything is trained on them.")
app.command(data)


@data.command
def check(
    folder: Path,
    /,
    *,
    json: Path | None = None,
    workers: int | None = None,
) -> int:
    """Look for what would spoil training or flatter a test: bad files, bad masks, duplicates, lesions across a split.

    Answers 0 if all is well, 1 if there are problems, 2 for a wrong call.

    Parameters
    ----------
    folder
        Folder that holds one or more data sets in their official layouts, or your own images.
    json
        File to write the whole report to, as JSON.
    workers
        Threads that decode; all cores unless given.
    """
    from cutis.data.check_report import check_folder

    return check_folder(folder, json_file=json, workers=workers)


train = App(name="train", help="Train a network by one of the methods' recipes; needs cutis[train].")
app.command(train)


@train.command
def supervised(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    devices: str = "1",
    nodes: int = 1,
    accelerator: str = "auto",
) -> None:
    """Train a segmenter on labelled images (SparseSegNet, Sec. 3.4). Any field of the configuration is also a flag:
    --epochs 3 --loss.boundary 0 --datasets '{ph2: 1}'; 'cutis train fields' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder whose weights to begin from.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    devices
        How many processes, one a device; 'auto' for all devices.
    nodes
        How many machines.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.config import SupervisedConfig, run_from_file
    from cutis.recipes.folder import device_count
    from cutis.recipes.run import train_supervised

    run_from_file(
        train_supervised, SupervisedConfig, config, fields, data, output, cache=cache, resume=resume, start=start,
        devices=device_count(devices), nodes=nodes, accelerator=accelerator,
    )  # fmt: skip


@train.command
def adversarial(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Train a segmenter against a discriminator (SLSNet, Sec. 3.4), on one device. Any field of the configuration is
    also a flag, as in 'cutis train supervised'; 'cutis train fields --of adversarial' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/slsnet/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder whose weights the generator begins with.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.adversarial_config import AdversarialConfig
    from cutis.recipes.adversarial_run import train_adversarial
    from cutis.recipes.config import run_from_file

    run_from_file(
        train_adversarial, AdversarialConfig, config, fields, data, output, cache=cache, resume=resume,
        start=start, accelerator=accelerator,
    )  # fmt: skip


@train.command
def prompting(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Train a promptable network (a point, a box or a mask to a mask) by simulated prompts, on one device. Any field of
    the configuration is also a flag, as in 'cutis train supervised'; 'cutis train fields --of prompting' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/promptable/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder whose weights the network begins with.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.config import run_from_file
    from cutis.recipes.prompting_config import PromptingConfig
    from cutis.recipes.prompting_run import train_prompting

    run_from_file(
        train_prompting, PromptingConfig, config, fields, data, output, cache=cache, resume=resume,
        start=start, accelerator=accelerator,
    )  # fmt: skip


@train.command
def distillation(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    first: Path | None = None,
    second: Path | None = None,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    devices: str = "1",
    nodes: int = 1,
    accelerator: str = "auto",
) -> None:
    """Train a gated segmenter on masks and two teachers' answers (SparseSegNet, Sec. 3.3 and 3.4). Any field of the
    configuration is also a flag, as in 'cutis train supervised'; 'cutis train fields --of distillation' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/sparsesegnet/distillation.yaml.
    data
        Folder that holds the data sets in their official layouts.
    first
        Cache of the boundary-minded teacher, made by 'cutis teach' with the same configuration.
    second
        Cache of the context-minded teacher, likewise.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder whose weights to begin from.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    devices
        How many processes, one a device; 'auto' for all devices.
    nodes
        How many machines.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.distillation_run import train_distillation_from_file

    train_distillation_from_file(
        config, fields, data, output, first=first, second=second, cache=cache, resume=resume, start=start,
        devices=devices, nodes=nodes, accelerator=accelerator,
    )  # fmt: skip


@train.command
def quantization(
    run: Path,
    /,
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Fine-tune a trained segmenter for INT8 (Jacob et al., 2018), on one device: in training its values are rounded as
    'cutis export' would round them. Any field of the configuration is also a flag: --fine_tune.epochs 2.

    Parameters
    ----------
    run
        Run folder that 'cutis train' made; it stays as it is.
    config
        YAML file with what is rounded and how it is fine-tuned; see configs/sparsesegnet/quantization.yaml.
    data
        Folder that holds the data sets of the run.
    output
        Run folder to make, like any other: the same network with other weights.
    resume
        Go on with the run that is in the output folder.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.config import run_from_file
    from cutis.recipes.quantization_config import QuantizationFineTuning
    from cutis.recipes.quantization_run import train_quantization

    run_from_file(
        train_quantization, QuantizationFineTuning, config, fields, data, output, start=run, cache=cache,
        resume=resume, accelerator=accelerator,
    )  # fmt: skip


@train.command
def symmetry(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    weights: str | None = None,
    segmenter: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    devices: str = "1",
    nodes: int = 1,
    accelerator: str = "auto",
) -> None:
    """Train the symmetry network (SE-LCN, Sec. 4.1.2). Any field of the configuration is also a flag, as in
    'cutis train supervised'; 'cutis train fields --of symmetry' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/se-lcn/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    weights
        What the trunk starts from: 'imagenet' (published weights, fetched) or a file; else what the configuration says.
    segmenter
        Run folder of the segmenter whose masks the masking takes; the data sets' own unless given.
    start
        Run folder whose weights to begin from.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    devices
        How many processes, one a device; 'auto' for all devices.
    nodes
        How many machines.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.classification import train_from_file

    train_from_file(
        "symmetry", config, fields, data, output, weights=weights, cache=cache, resume=resume, segmenter=segmenter,
        start=start, devices=devices, nodes=nodes, accelerator=accelerator,
    )  # fmt: skip


@train.command
def lesion(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    symmetry: Path | None = None,
    weights: str | None = None,
    segmenter: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    devices: str = "1",
    nodes: int = 1,
    accelerator: str = "auto",
) -> None:
    """Train the lesion network on the symmetry network's maps (SE-LCN, Sec. 4.1.3). Any field of the configuration is
    also a flag; 'cutis train fields --of lesion' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/se-lcn/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    symmetry
        Run folder of the symmetry network; it stays as it is. The baseline has none.
    weights
        What the trunk starts from: 'imagenet' (published weights, fetched) or a file; else what the configuration says.
    segmenter
        Run folder of the segmenter whose masks the masking takes; the data sets' own unless given.
    start
        Run folder whose weights to begin from.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images and maps are kept.
    devices
        How many processes, one a device; 'auto' for all devices.
    nodes
        How many machines.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.classification import train_from_file

    train_from_file(
        "lesion_class", config, fields, data, output, weights=weights, cache=cache, resume=resume, symmetry=symmetry,
        segmenter=segmenter, start=start, devices=devices, nodes=nodes, accelerator=accelerator,
    )  # fmt: skip


@train.command
def cascade(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    segmenter: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Train segmenter, symmetry network and lesion network in this order (SE-LCN), on one device. Any field of the
    configuration is also a flag, its stage first: --lesion.epochs 3; 'cutis train fields --of cascade' lists them.

    Parameters
    ----------
    config
        YAML file with the three runs; see configs/se-lcn/cascade.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for the three run folders; runs/<name> unless given.
    segmenter
        Run folder of a trained segmenter to take instead of training one.
    resume
        Go on: stages that are finished stay, one that was cut off goes on from its last epoch.
    cache
        Where decoded images, masks and maps are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.cascade import train_cascade_from_file

    train_cascade_from_file(
        config, fields, data, output, cache=cache, resume=resume, segmenter=segmenter, accelerator=accelerator
    )


@train.command
def knowledge_mining(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    teacher: str | None = None,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Train a segmenter on few labels and on what a promptable model answers about unlabelled images (knowledge mining,
    Sec. 2), on one device. Any field of the configuration is also a flag, as in 'cutis train supervised'; 'cutis train
    fields --of knowledge-mining' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/knowledge-mining/.
    data
        Folder that holds the data sets in their official layouts.
    teacher
        The promptable: a run of 'cutis train prompting', or a folder with SAM's or MedSAM's weights.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder of a supervised phase to begin the mining from, instead of training one; or of 'cutis train
        contrastive', whose encoder the supervised phase begins with.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images and the promptable's embeddings are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.config import run_from_file
    from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
    from cutis.recipes.knowledge_mining_run import train_knowledge_mining

    run_from_file(
        train_knowledge_mining, KnowledgeMiningConfig, config, fields, data, output, teacher=teacher, cache=cache,
        resume=resume, start=start, accelerator=accelerator,
    )  # fmt: skip


@train.command
def contrastive(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Train a segmenter's encoder without labels (SimCLR; knowledge mining, Sec. 2.8), on one device: other runs begin
    with it by --start. Any field of the configuration is also a flag, as in 'cutis train supervised'; 'cutis train
    fields --of contrastive' lists them.

    Parameters
    ----------
    config
        YAML file with the fields of the run; see configs/knowledge-mining/.
    data
        Folder that holds the data sets in their official layouts.
    output
        Run folder to make; runs/<name> unless given.
    start
        Run folder whose weights to begin from.
    resume
        Go on with the run that is in the run folder.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.config import run_from_file
    from cutis.recipes.contrastive_config import ContrastiveConfig
    from cutis.recipes.contrastive_run import train_contrastive

    run_from_file(
        train_contrastive, ContrastiveConfig, config, fields, data, output, cache=cache, resume=resume,
        start=start, accelerator=accelerator,
    )  # fmt: skip


@train.command
def fields(
    *,
    of: Literal[
        "supervised",
        "distillation",
        "adversarial",
        "knowledge-mining",
        "contrastive",
        "prompting",
        "quantization",
        "symmetry",
        "lesion",
        "cascade",
    ] = "supervised",
) -> None:
    """List every field of a run: name, type, what it does.

    Parameters
    ----------
    of
        Which verb's.
    """
    from cutis.recipes.adversarial_config import AdversarialConfig
    from cutis.recipes.cascade_config import CascadeConfig
    from cutis.recipes.classification_config import ClassificationConfig
    from cutis.recipes.config import SupervisedConfig, describe_fields
    from cutis.recipes.contrastive_config import ContrastiveConfig
    from cutis.recipes.distillation_config import DistillationConfig
    from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
    from cutis.recipes.prompting_config import PromptingConfig
    from cutis.recipes.quantization_config import QuantizationFineTuning

    models: dict[str, type[BaseModel]] = {"supervised": SupervisedConfig, "cascade": CascadeConfig}
    models |= {"adversarial": AdversarialConfig, "distillation": DistillationConfig}
    models |= {"knowledge-mining": KnowledgeMiningConfig, "contrastive": ContrastiveConfig}
    models |= {"prompting": PromptingConfig, "quantization": QuantizationFineTuning}
    print(describe_fields(models.get(of, ClassificationConfig)))


@app.command
def teach(
    teacher: str,
    /,
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    channels: int,
    side: int,
    output: Path | None = None,
    weights: Path | None = None,
    layer: str | None = None,
    text: str | None = None,
    prompts: Path | None = None,
    recalibrate: str | None = None,
    align: Path | None = None,
    fitted_on: int = 256,
    batch: int = 8,
    plan: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Ask a teacher about every training image of a run and keep what it says, for 'cutis train distillation'
    (SparseSegNet, Sec. 3.3). Called again it completes what was cut off. Any field of the configuration is also a flag.

    Parameters
    ----------
    teacher
        A run folder that 'cutis train' made, or 'sam', 'clipseg', 'seem'.
    config
        YAML file of the run that will learn from it: its training images are asked about.
    data
        Folder that holds the data sets in their official layouts.
    channels
        What the embedding is projected to, the same for both teachers.
    side
        How many cells a side of the square its maps are kept at.
    output
        Folder to keep it in; a folder below --cache, named by its content, unless given.
    weights
        sam, clipseg: folder of weights in the format of transformers. seem: folder that tools/seem_answers.py wrote.
    layer
        A run: the layer whose output is the embedding. A name that is none is answered with those there are.
    text
        clipseg: what it is asked for.
    prompts
        sam: run folder whose masks give the boxes it is prompted with; the middle of the picture unless given.
    recalibrate
        A run: data set on whose images its batch norms are set anew first (Sec. 4.3).
    align
        Folder of the first teacher's cache, to which this one's projection is turned.
    fitted_on
        How many images the projection is fitted on.
    batch
        How many images the teacher is asked about at a time.
    plan
        Only say how large it would be.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.recipes.distillation_config import TeacherChoice
    from cutis.recipes.teaching import Kept, teach_from_file

    choice = TeacherChoice(
        kind=teacher, weights=weights, layer=layer, text=text, prompts=prompts, recalibrate=recalibrate
    )
    kept = Kept(side, channels, fitted_on, align)
    teach_from_file(
        choice, config, fields, data, kept, output=output, cache=cache, batch=batch, plan=plan, accelerator=accelerator
    )


@app.command
def tune(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    space: Path,
    data: Path,
    output: Path,
    trials: int = 20,
    timeout: float | None = None,
    latency: Annotated[bool, Parameter(negative="")] = False,
    latency_limit: float | None = None,
    symmetry: Path | None = None,
    storage: str | None = None,
    study: str | None = None,
    seed: int = 2026,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> None:
    """Search for hyperparameters with Optuna's TPE; needs cutis[train]. Called again, it goes on with its study.
    Any field of the configuration is also a flag, as for 'cutis train'. With --latency, also for a segmenter's shape.

    Parameters
    ----------
    config
        YAML file of the run to improve, of any recipe.
    space
        YAML file of what may vary; see configs/*/tune.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for best.yaml, history.png, importances.png, study.db and the trials' run folders; with --latency, for
        pareto.png and front/*.yaml instead of the first three.
    trials
        How many finished trials the study shall have, those of other processes and earlier calls among them.
    timeout
        After so many minutes no trial begins.
    latency
        Search for a fast segmenter too: its measured INT8 time, in units of the bundled one's, is a second objective.
    latency_limit
        A network that takes more of the bundled one's time is not trained.
    symmetry
        Run folder of the symmetry network whose maps the lesion network takes.
    storage
        URL of the study's database, for several machines; an SQLite file in the output folder unless given.
    study
        Name of the study in its database; the configuration's unless given.
    seed
        Decides, with a trial's number and the trials before it, what it tries.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto; one device a process.
    """
    import shlex

    from cutis.tuning.search import Search, search

    if latency_limit is not None and not latency:
        raise CutisError("--latency-limit is of a search with --latency: give both, or neither")
    second = None
    if latency:
        from cutis.benchmark.shape import shape_latency

        second = shape_latency(latency_limit, cache)
    asked = Search(
        config, fields, space, data, output, symmetry, trials, storage, study, timeout, seed, cache, accelerator,
        shlex.join(["cutis", *sys.argv[1:]]), latency=second,
    )  # fmt: skip
    search(asked)


@app.command
def prune(
    run: Path,
    /,
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    teacher: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> int:
    """Take channels out of a trained segmenter, step by step (SparseSegNet, Eq. 1, 2, 5-6); fine-tune after each, print
    parameters, MACs, INT8 latency, Dice and HD95 before and after. Any field of the configuration is also a flag.

    Parameters
    ----------
    run
        Run folder that 'cutis train' made.
    config
        YAML file with the steps; see configs/sparsesegnet/prune.yaml.
    data
        Folder that holds the data sets of the run.
    output
        Folder for the pruned network, a run folder like any other, with pruning.md, pruning.json and all steps.
    teacher
        Folder of a teacher's cache of the run's training images, made by 'cutis teach': its probabilities are the
        anchor maps of semantic pruning; the unpruned network's own unless given.
    resume
        Go on with the pruning that is in the output folder.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto, for the fine-tuning.
    """
    from cutis.benchmark.pruning import prune_from_file

    return prune_from_file(
        run, fields, config=config, data=data, output=output, teacher=teacher, cache=cache, resume=resume,
        accelerator=accelerator,
    )  # fmt: skip


@app.command
def evaluate_prompts(
    model: str,
    /,
    *,
    data: Path,
    way: Annotated[list[str] | None, Parameter(negative="")] = None,
    dataset: Annotated[list[str] | None, Parameter(negative="")] = None,
    split: str = "test",
    output: Path | None = None,
    limit: int | None = None,
    seed: int = 2026,
    accelerator: str = "auto",
) -> int:
    """Measure how well a promptable model answers when it is prompted from the truth: with the box, a box that is off,
    points; print the mean of every measure with its interval, for each way.

    Parameters
    ----------
    model
        A run of 'cutis train prompting', a folder with SAM's or MedSAM's weights, or the encoder of an exported pair (a
        file, or the name of the one that comes with cutis: promptable-encoder-int8).
    data
        Folder that holds one or more data sets in their official layouts.
    way
        box, jittered-box, 1-point, 3-points, 1-point-3-corrections (or other numbers); may be given several times.
        Default: all of these.
    dataset
        Only this data set; may be given several times. Default: those of the training, else all that have masks.
    split
        Which part of the run's division, or all; of data sets that the run does not know, the test part is every image
        but those of lesions that it was trained on.
    output
        Folder for rows.csv, summary.json, summary.md and the worst cases.
    limit
        At most so many images of each data set, evenly spread.
    seed
        Decides the points and how boxes are off.
    accelerator
        cpu, gpu, mps or auto.
    """
    import shlex

    from cutis.evaluation.prompted import WAYS
    from cutis.evaluation.prompted_verb import evaluate_prompts

    files = None
    if "encoder" in Path(model).name and not Path(model).is_dir():
        from cutis.analysis.prompted import load_promptable_model

        files = load_promptable_model(model)
    return evaluate_prompts(
        model, data, files=files, ways=way or WAYS, datasets=dataset, part=split, output=output, limit=limit, seed=seed,
        accelerator=accelerator, command=shlex.join(["cutis", *sys.argv[1:]]),
    )  # fmt: skip


@app.command
def export(
    run: Path,
    /,
    *,
    output: Path,
    data: Path | None = None,
    name: str | None = None,
    model_version: str = __version__,
    half: Annotated[bool, Parameter(negative="")] = False,
    calibration: int = 512,
    seed: int = 2026,
    symmetry_model: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    cache: Path = Path(".cache/cutis"),
    executorch: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a trained network as ONNX in fp32 and, with --data, in INT8; print how far both agree with torch.

    A classifier needs --data: its answers are calibrated on the validation lesions of its run.

    Parameters
    ----------
    run
        Run folder that 'cutis train' made.
    output
        Folder for <name>-fp32.onnx and <name>-int8.onnx.
    data
        Folder that holds the data sets of the run: INT8 is calibrated on images of its training part.
    name
        Name of the model, in its file and inside it; the run's unless given.
    model_version
        Version of the model, written into the file.
    half
        Store the fp32 file's weights as float16 (half the size; it still computes in float32).
    calibration
        How many images to calibrate on.
    seed
        Chooses the images.
    symmetry_model
        The exported symmetry network (its fp32 and its INT8 file), for a lesion network that takes its map.
    cache
        Where the masks of the segmenter are kept that a classifier was trained with.
    executorch
        For a segmenter, write <name>-fp32.pte and, with --data, <name>-int8.pte too: programs of ExecuTorch's for
        phones. Needs cutis[train,executorch].
    """
    from cutis.export import verb

    return verb.export(
        run, output, name=name, version=model_version, half=half, data=data, calibration=calibration, seed=seed,
        symmetry=symmetry_model or (), cache=cache, executorch=executorch,
    )  # fmt: skip


@app.command
def card(
    run: Path,
    /,
    *,
    models: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
    accuracy: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
    speed: Annotated[list[Path], Parameter(consume_multiple=True, negative="")],
    notes: Path,
    command: str,
    output: Path,
) -> int:
    """Write the model card of exported files from what was measured; a missing figure is an error.

    Parameters
    ----------
    run
        Run folder that the files were exported from.
    models
        The ONNX files.
    accuracy
        summary.json of the evaluation of each file, its rows.csv beside it.
    speed
        JSON files that 'cutis benchmark' wrote, with each file among what was timed.
    notes
        Markdown file: what the worst cases show.
    command
        The command that trained the run.
    output
        File to write.
    """
    from cutis.export.card import Sources, model_card
    from cutis.files import atomic_write

    atomic_write(output, model_card(Sources(run, models, accuracy, speed, notes, command)))
    print(f"written: {output}")
    return 0


experiment = App(name="experiment", help="A paper's whole experiment: its runs, and its tables beside ours.")
app.command(experiment)


@experiment.command(name="se-lcn")
def se_lcn(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    plan: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> int:
    """Make every run that SE-LCN's tables need, in order, and evaluate each; what is finished stays, what was cut off
    goes on. Any field of the configuration is also a flag: --models '[1, 3]' --lesion.epochs 10.

    Parameters
    ----------
    config
        YAML file of the grid; see configs/se-lcn/grid.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for all runs.
    plan
        Only say what would be run, and about how long it would take on this machine.
    cache
        Where decoded images and maps are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.analysis.pipeline import predict_mask
    from cutis.experiments.verb import run_experiment

    return run_experiment(
        config, fields, data, output, plan=plan, cache=cache, accelerator=accelerator, segment=predict_mask
    )


@experiment.command
def slsnet(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    plan: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> int:
    """Make the runs that SLSNet's tables need (its configurations, sizes, losses and comparison networks) and evaluate
    each; what is finished stays, what was cut off goes on. Any field of the configuration is also a flag.

    Parameters
    ----------
    config
        YAML file of the grid; see configs/slsnet/grid.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for all runs.
    plan
        Only say what would be run, and about how long it would take on this machine.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.analysis.pipeline import predict_mask
    from cutis.experiments.slsnet_verb import run_slsnet

    return run_slsnet(
        config, fields, data, output, plan=plan, cache=cache, accelerator=accelerator, segment=predict_mask
    )


@experiment.command
def sparsesegnet(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    plan: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> int:
    """Make the runs that SparseSegNet's tables need (ablation, data sets, loss weights): ask the teachers, train,
    prune, evaluate and time each; what is finished stays, what was cut off goes on. Any field of the configuration is
    also a flag: --rows '[full, vanilla]' --base.epochs 10.

    Parameters
    ----------
    config
        YAML file of the experiment; see configs/sparsesegnet/experiment.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for all runs.
    plan
        Only say what would be run, and about how long it would take on this machine.
    cache
        Where decoded images are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.analysis.pipeline import predict_mask
    from cutis.benchmark.pruning import instruments
    from cutis.experiments.ablation_verb import run_sparsesegnet

    return run_sparsesegnet(
        config, fields, data, output, plan=plan, cache=cache, accelerator=accelerator, segment=predict_mask,
        instruments=instruments,
    )  # fmt: skip


@experiment.command(name="knowledge-mining")
def mining_tables(
    *fields: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    config: Path,
    data: Path,
    output: Path,
    plan: Annotated[bool, Parameter(negative="")] = False,
    cache: Path = Path(".cache/cutis"),
    accelerator: str = "auto",
) -> int:
    """Make the runs that knowledge mining's tables need (shares of labels, schedules, SimCLR, MedSAM, prompts) and
    evaluate each; what is finished stays, what was cut off goes on. Any field of the configuration is also a flag:
    --teacher runs/promptable --labelled '{kvasir_seg: [75]}'.

    Parameters
    ----------
    config
        YAML file of the grid; see configs/knowledge-mining/experiment.yaml.
    data
        Folder that holds the data sets in their official layouts.
    output
        Folder for all runs.
    plan
        Only say what would be run, and about how long it would take on this machine.
    cache
        Where decoded images and embeddings are kept.
    accelerator
        cpu, gpu, mps or auto.
    """
    from cutis.analysis.pipeline import predict_mask
    from cutis.experiments.mining_verb import run_knowledge_mining

    return run_knowledge_mining(
        config, fields, data, output, plan=plan, cache=cache, accelerator=accelerator, segment=predict_mask
    )


@experiment.command
def tables(
    *,
    results: Path,
    table: Annotated[list[str] | None, Parameter(negative="")] = None,
    csv: Path | None = None,
    published: Path | None = None,
) -> int:
    """Print a paper's tables with ours beside its own, and above each what is different here.

    Parameters
    ----------
    results
        Folder that 'cutis experiment se-lcn' or another one filled.
    table
        Only this table (SE-LCN: 5, 6a, 6b, 7, 8a, 8b, 9, 10, 13, 14, 15; SLSNet: 3, 4, 6, 7, 8; SparseSegNet: 1 to 4;
        knowledge mining: 1 to 3, or the name of another data set); may be repeated.
    csv
        File for the same values, one a line.
    published
        Folder of SE-LCN's authors' published predictions, to print its table 8b from them too.
    """
    from cutis.experiments.verb import show_tables

    return show_tables(results, table, csv_file=csv, published=published)


benchmark = App(name="benchmark", help="Measure speed and memory on this machine; see benchmarks/README.md.")
app.command(benchmark)
_RESULTS = Path("benchmarks/results")
_CACHE = Path(".cache/cutis")
_Busy = Annotated[bool, Parameter(negative="", help="Measure even while other work is running; the result says so.")]


def _idle(busy: bool) -> None:
    from cutis.benchmark.machine import must_be_idle

    must_be_idle(busy)


@benchmark.default
def all_speed(*, rounds: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False) -> int:
    """All of `network`, `pipeline`, `peers`, `latency` and `roofline`, then `plots`: in under ten minutes on two cores,
    once the peers are exported.

    Parameters
    ----------
    rounds
        How often each program has its turn.
    cache
        Where U's network is kept.
    output
        Folder for the JSON files.
    """
    _idle(busy)
    network(rounds=rounds, cache=cache, output=output, busy=True)
    pipeline(rounds=rounds, cache=cache, output=output, busy=True)
    peers(rounds=max(1, rounds // 3), cache=cache, output=output, busy=True)
    latency(rounds=max(1, rounds // 3), cache=cache, output=output, busy=True)
    roofline(rounds=rounds, cache=cache, output=output, busy=True)
    return plots(results=output)


@benchmark.command
def peers(
    *names: str,
    size: int = 256,
    rounds: int = 15,
    accuracy: Annotated[list[Path] | None, Parameter(negative="")] = None,
    dataset: str = "isic2018_task1",
    runtime: str = "onnxruntime",
    cache: Path = _CACHE,
    output: Path = _RESULTS,
    busy: _Busy = False,
) -> int:
    """Ours beside what a user would pick instead, fp32 and INT8: latency on one thread and on all, loading, memory,
    size, multiply-adds, accuracy where it was measured; needs cutis[train].

    Parameters
    ----------
    names
        Bundled models, ONNX files that 'cutis export' wrote, peers by name (unet-resnet34, sam-vit-b, ...); ours and
        every peer unless given.
    size
        Side of the pictures for peers that take any, pixels.
    rounds
        How often each has its turn; what takes seconds has three.
    accuracy
        summary.json of a 'cutis evaluate' of a model among these; may be repeated. Those in the output folder
        (accuracy-*.json) unless given.
    dataset
        Which of their data sets.
    runtime
        What runs models of cutis's contract, see 'cutis analyze --runtime'.
    cache
        Where the peers' files are kept.
    output
        Folder for peers.json and peer-targets.json.
    """
    _idle(busy)
    from cutis.benchmark.versus import measure_peers

    found = accuracy if accuracy is not None else sorted(output.glob("accuracy-*.json"))
    return measure_peers(
        names, size=size, rounds=rounds, accuracy=found, dataset=dataset, runtime=runtime, cache=cache, output=output
    )


@benchmark.command
def latency(
    *names: str,
    size: Annotated[tuple[int, ...], Parameter(negative="")] = (128, 256, 384, 512),
    threads: Annotated[tuple[int, ...], Parameter(negative="")] = (),
    rounds: int = 10,
    runtime: str = "onnxruntime",
    cache: Path = _CACHE,
    output: Path = _RESULTS,
    busy: _Busy = False,
) -> int:
    """How a forward pass grows with the image's side, and what more threads give; needs cutis[train].

    Parameters
    ----------
    names
        Peers that take any side; ours (sparsesegnet), LRASPP and U-Net unless given.
    size
        Side of the pictures, pixels; may be repeated.
    threads
        How many threads, at 256 pixels; may be repeated. From one to all unless given.
    rounds
        How often each has its turn.
    runtime
        What runs them, see 'cutis analyze --runtime'.
    cache
        Where the peers' files are kept.
    output
        Folder for latency.json.
    """
    _idle(busy)
    from cutis.benchmark.scaling import NETWORKS, measure_latency

    return measure_latency(names or NETWORKS, size, threads, rounds=rounds, runtime=runtime, cache=cache, output=output)


@benchmark.command
def roofline(
    *models: str, size: int = 256, rounds: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """How near models come to what one thread of this machine can do at most, operator by operator.

    Parameters
    ----------
    models
        Bundled models, ONNX files that 'cutis export' wrote, peers by name; the bundled INT8 and fp32 unless given.
    size
        Side of the pictures for peers that take any, pixels.
    rounds
        How often each has its turn.
    cache
        Where the peers' files are kept.
    output
        Folder for roofline.json.
    """
    _idle(busy)
    from cutis.benchmark.contenders import OURS
    from cutis.benchmark.roofline import measure_roofline

    return measure_roofline(models or OURS, size=size, rounds=rounds, cache=cache, output=output)


@benchmark.command
def plots(*, results: Path = _RESULTS, images: Path = Path("docs/images")) -> int:
    """Draw what was measured: accuracy against latency, latency against threads and against the image's side.

    Parameters
    ----------
    results
        Folder of peers.json and latency.json.
    images
        Folder for the SVG files.
    """
    from cutis.benchmark.plots import draw_plots

    return draw_plots(results, images)


@benchmark.command
def network(*models: str, rounds: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False) -> int:
    """Networks alone against U: one fp32 forward of a U-Net (ResNet-34) at 256x256 on one thread.

    Parameters
    ----------
    models
        Names of bundled models or ONNX files; the bundled INT8 and fp32 unless given.
    rounds
        How often each network has its turn.
    cache
        Where U's network is kept.
    output
        Folder for network.json.
    """
    _idle(busy)
    from cutis.benchmark.network import measure_network

    return measure_network(models or ("segmenter-int8", "segmenter-fp32"), rounds=rounds, cache=cache, output=output)


@benchmark.command
def pipeline(
    model: str | None = None, /, *, rounds: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """A 1024x768 JPEG to mask and record, with and without hair removal, against U.

    Parameters
    ----------
    model
        Name of a bundled model or an ONNX file; the one `analyze` uses unless given.
    rounds
        How often each has its turn.
    cache
        Where U's network is kept.
    output
        Folder for pipeline.json.
    """
    _idle(busy)
    from cutis.benchmark.pipeline import measure_pipeline

    return measure_pipeline(model, rounds=rounds, cache=cache, output=output)


@benchmark.command(name="cascade")
def cascade_speed(
    *,
    symmetry_model: str | None = None,
    class_model: str | None = None,
    rounds: int = 30,
    cache: Path = _CACHE,
    output: Path = _RESULTS,
    busy: _Busy = False,
) -> int:
    """Symmetry and class with both maps, after the mask, against U.

    Parameters
    ----------
    symmetry_model
        Name of a bundled model or an ONNX file; the one `analyze` uses unless given.
    class_model
        Likewise.
    rounds
        How often each program has its turn.
    cache
        Where U's network is kept.
    output
        Folder for cascade.json.
    """
    _idle(busy)
    from cutis.benchmark.cascade import measure_cascade

    return measure_cascade(symmetry_model, class_model, rounds=rounds, cache=cache, output=output)


@benchmark.command(name="prompts")
def prompts_speed(
    *, model: str | None = None, rounds: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """From a box or a point to a mask: a promptable's encoder and decoder, against U.

    Parameters
    ----------
    model
        The encoder's file, or the name of the bundled one; the one that 'analyze --box' uses unless given.
    rounds
        How often each program has its turn.
    cache
        Where U's network is kept.
    output
        Folder for prompts.json.
    """
    _idle(busy)
    from cutis.benchmark.prompts import measure_prompts

    return measure_prompts(model, rounds=rounds, cache=cache, output=output)


@benchmark.command(name="data")
def loading(
    *, config: Path, data: Path, batches: int = 30, cache: Path = _CACHE, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """The loader alone against the training step, in images a second; needs cutis[train].

    Parameters
    ----------
    config
        YAML file of a supervised run.
    data
        Folder that holds its data sets.
    batches
        How many batches to time of each.
    cache
        Where decoded images are kept.
    output
        Folder for data.json.
    """
    _idle(busy)
    from cutis.benchmark.loading import measure_data

    return measure_data(config, data, batches=batches, cache=cache, output=output)


@benchmark.command
def architectures(
    *networks: str,
    size: Annotated[tuple[int, ...], Parameter(negative="")] = (64, 128, 256),
    rounds: int = 10,
    output: Path = _RESULTS,
    busy: _Busy = False,
) -> int:
    """Parameters, multiply-adds and frames a second of untrained networks, fp32 and INT8 (SLSNet, Table 5); needs
    cutis[train].

    Parameters
    ----------
    networks
        Names of registered networks; SLSNet and those it is compared with unless given.
    size
        Side of the pictures, pixels; may be given several times.
    rounds
        How often each network has its turn.
    output
        Folder for architectures.json.
    """
    _idle(busy)
    from cutis.benchmark.architectures import NETWORKS, measure_architectures

    return measure_architectures(networks or NETWORKS, size, rounds=rounds, output=output)


@benchmark.command(name="opencv")
def beside_opencv(
    model: str | None = None, /, *, rounds: int = 30, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """The analysis beside the few lines of OpenCV that parts of it could be: decoding whole, black-hat and Telea.

    Parameters
    ----------
    model
        Name of a bundled model or an ONNX file; the one `analyze` uses unless given.
    rounds
        How often each has its turn.
    output
        Folder for opencv.json.
    """
    _idle(busy)
    from cutis.benchmark.opencv import measure_against_opencv

    return measure_against_opencv(model, rounds=rounds, output=output)


@benchmark.command(name="start")
def cold_start(*, rounds: int = 20, output: Path = _RESULTS, busy: _Busy = False) -> int:
    """One image from a cold start, process to exit, against bare imports of onnxruntime and OpenCV.

    Parameters
    ----------
    rounds
        How often each is started.
    output
        Folder for start.json.
    """
    _idle(busy)
    from cutis.benchmark.start import measure_start

    return measure_start(rounds=rounds, output=output)


@benchmark.command
def folder(
    model: str | None = None, /, *, images: int = 1000, rounds: int = 3, output: Path = _RESULTS, busy: _Busy = False
) -> int:
    """Images a second of a folder of drawn 600x450 pictures, on two cores against one.

    Parameters
    ----------
    model
        Name of a bundled model or an ONNX file; the one `analyze` uses unless given.
    images
        How many images the folder holds.
    rounds
        How often it is analysed with one worker and with two.
    output
        Folder for folder.json.
    """
    _idle(busy)
    from cutis.benchmark.folder import measure_folder

    return measure_folder(model, images=images, rounds=rounds, output=output)


@benchmark.command
def memory(model: str | None = None, /, *, images: int = 1000, output: Path = _RESULTS, busy: _Busy = False) -> int:
    """Peak memory of analysing a folder of drawn images, and images a second with one worker and with all cores.

    Parameters
    ----------
    model
        Name of a bundled model or an ONNX file; the one `analyze` uses unless given.
    images
        How many images the folder holds.
    output
        Folder for memory.json.
    """
    _idle(busy)
    from cutis.benchmark.memory import measure_memory

    return measure_memory(model, images=images, output=output)


_TRAINING = frozenset(
    ("torch", "torchvision", "lightning", "timm", "segmentation_models_pytorch", "scipy", "sklearn", "pandas")
    + ("tensorboard", "onnx", "onnxscript", "optuna", "sqlalchemy", "matplotlib", "torch_pruning", "transformers")
)
"""What cutis[train] adds, as it is imported."""
_SERVING = frozenset(("fastapi", "starlette", "uvicorn", "python_multipart", "cryptography", "platformdirs"))
"""What cutis[serve] adds, likewise."""


def main() -> None:
    """Run the command line; a user's mistake, and a part that is not installed, is one line and exit code 2."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # a damaged file has a line of its own
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some takes longer than an analysis
    try:
        code = app(result_action="return_value")
    except CutisError as error:
        print(f"cutis: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _TRAINING | _SERVING:
            raise
        verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        size = "serve" if package in _SERVING else "train"
        print(missing(f"cutis {verb} needs", package, size), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("cutis: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe (`| head`) has seen enough; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
