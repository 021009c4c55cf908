"""The Metrics API of Kubernetes, answered from the kubelets without any state.

``settings`` are the deployer's. ``clients`` asks other servers, ``apiserver`` and ``kubelets`` are those servers,
``summary`` decodes a kubelet's figures. ``access`` tells who may ask. ``objects`` and ``representations`` make the
bodies, ``receiver`` has the routes, ``function`` is what functions-framework loads. Logs, requests, responses and the
server come from `auditsplit`.
"""
