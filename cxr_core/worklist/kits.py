"""What a worker has loaded: the model in force, the last other one that somebody asked for, and the gate."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

from cxr_core.errors import ModelError
from cxr_core.imaging.limits import Limits
from cxr_core.pipeline import Kit
from cxr_core.settings import Settings
from cxr_core.triage.policy import Policy
from cxr_core.worklist.model_in_force import ModelInForce, fault_of, manifest_sha256

RETRY_S = 30.0
"""A model that could not be loaded is not looked at again for so long: reading it takes a second."""


class Kits:
    """Kits by id of their model; at most two are held."""

    def __init__(
        self, settings: Settings, limits: Limits, policy: Policy, model: ModelInForce, gate: str
    ) -> None:
        """Load nothing yet; `gate` is as results name it."""
        self._settings, self._limits = settings, limits
        self._policy, self._model, self._gate = policy, model, gate
        self._kits: dict[str, Kit] = {}
        self._unsound: dict[str, tuple[float, str]] = {}
        self._shas: dict[str, str] = {}

    def use(self, policy: Policy, model: ModelInForce, gate: str) -> None:
        """Answer by these from now on; what has its kit already is answered by the former."""
        if policy != self._policy:
            self._policy = policy
            self._kits = {key: replace(kit, policy=policy) for key, kit in self._kits.items()}
        ours = self._model
        if (model.change, model.fault, gate) != (ours.change, ours.fault, self._gate):
            # Loaded anew even where a model of that id is held: this one must be the very one activated.
            self._kits.clear()
            self._unsound.clear()
        self._model, self._gate = model, gate

    def get(self, model: str | None) -> Kit:
        """Return the kit of a model; None means the one in force.

        Raises:
            ModelError: the model is not there or not what its manifest says.
        """
        wanted = model or self._model.id
        if wanted != self._model.id:
            # One that a lead asked for may be replaced at any time, and nothing tells of it.
            sha256 = manifest_sha256(self._settings, wanted)
            if self._shas.get(wanted) != sha256:
                self._kits.pop(wanted, None)
                self._unsound.pop(wanted, None)
                self._shas[wanted] = sha256
        if wanted not in self._kits:
            self._make_room(wanted)
            self._kits[wanted] = self._load(wanted)
        return self._kits[wanted]

    def _make_room(self, wanted: str) -> None:
        if wanted != self._model.id:
            self._kits = {key: kit for key, kit in self._kits.items() if key == self._model.id}

    def _load(self, model: str) -> Kit:
        from cxr_core.inference import gate_network, registry  # ONNX Runtime: not before a worker needs it

        until, why = self._unsound.get(model, (0.0, ""))
        if monotonic() < until:
            raise ModelError(why)
        try:
            if model == self._model.id and (fault := fault_of(self._settings, self._model)):
                raise ModelError(fault)
            classifier = registry.load(self._settings.models_dir / model, threads=self._settings.threads)
            gate = gate_network.load(self._settings.gate)
        except ModelError as exc:
            self._unsound[model] = (monotonic() + RETRY_S, str(exc))
            raise
        self._unsound.pop(model, None)
        return Kit(self._limits, classifier, self._policy, gate)
